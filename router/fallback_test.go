package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

// answer writes a status, fields and a body.
func answer(status int, body string, fields ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func TestFallback(t *testing.T) {
	found := answer(200, "origin", "Etag: \"o\"")
	missing := answer(404, "apps", "Etag: \"a\"", "Cache-Control: max-age=3600, stale-if-error=60", "Set-Cookie: a=1")
	cases := map[string]struct {
		first, then      http.Handler
		method, body     string
		status           int
		want, etag, keep string
	}{
		"found first":           {first: answer(200, "apps"), then: found, status: 200, want: "apps"},
		"found second":          {first: missing, then: found, status: 200, want: "origin", etag: `"o"`},
		"HEAD":                  {first: missing, then: found, method: "HEAD", status: 200, want: "origin", etag: `"o"`},
		"POST":                  {first: missing, then: found, method: "POST", status: 404, want: "apps", etag: `"a"`, keep: "max-age=3600, stale-if-error=60"},
		"GET with a body":       {first: missing, then: found, body: "x", status: 404, want: "apps", etag: `"a"`, keep: "max-age=3600, stale-if-error=60"},
		"another error":         {first: answer(410, "gone"), then: found, status: 410, want: "gone"},
		"missing everywhere":    {first: missing, then: missing, status: 404, want: "apps", etag: `"a"`, keep: "max-age=5"},
		"shorter stays":         {first: missing, then: answer(404, "", "Cache-Control: max-age=9, s-maxage=2"), status: 404, keep: "max-age=2"},
		"no-store stays":        {first: missing, then: answer(404, "", "Cache-Control: no-store"), status: 404, keep: "no-store"},
		"private stays":         {first: missing, then: answer(404, "", "Cache-Control: private, max-age=60"), status: 404, keep: "private, max-age=5"},
		"Expires":               {first: missing, then: answer(404, "", "Expires: Thu, 01 Jan 2099 00:00:00 GMT"), status: 404, keep: "max-age=5"},
		"expired":               {first: missing, then: answer(404, "", "Expires: 0"), status: 404, keep: "max-age=0"},
		"a cache's own field":   {first: missing, then: answer(404, "", "Cache-Control: max-age=60", "Foretier-Cache-Control: max-age=600", "X-Accel-Expires: 600"), status: 404, keep: "max-age=5"},
		"forbidden to one":      {first: missing, then: answer(404, "", "Cache-Control: max-age=60", "Foretier-Cache-Control: no-store"), status: 404, keep: "no-store"},
		"forbidden by name":     {first: missing, then: answer(404, "", "Cache-Control: max-age=60", "Surrogate-Control: no-store;Foretier"), status: 404, keep: "no-store"},
		"longer than can be":    {first: missing, then: answer(404, "", "Cache-Control: max-age=99999999999999999999"), status: 404, keep: "max-age=5"},
		"no number":             {first: missing, then: answer(404, "", "Cache-Control: max-age=+60", "Expires: Thu, 01 Jan 2099 00:00:00 GMT"), status: 404, keep: "max-age=0"},
		"no lifetime":           {first: missing, then: answer(404, ""), status: 404, keep: "max-age=0"},
		"public, no lifetime":   {first: missing, then: answer(404, "", "Cache-Control: public"), status: 404, keep: "max-age=0"},
		"second fails":          {first: missing, then: answer(503, "down"), status: 503, want: "down"},
		"implicit header":       {first: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a") }), then: found, status: 200, want: "a"},
		"broken off while lost": {first: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); panic(http.ErrAbortHandler) }), then: found, status: 200, want: "origin", etag: `"o"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			if c.method == "" {
				c.method = "GET"
			}
			w := httptest.NewRecorder()
			w.Header().Set("X-Above", "1")
			router.Fallback(c.first, c.then).ServeHTTP(w, httptest.NewRequest(c.method, "/media/a", body))
			h := w.Header()
			if w.Code != c.status || w.Body.String() != c.want || h.Get("Etag") != c.etag || h.Get("Cache-Control") != c.keep {
				t.Errorf("got %d %q, %v", w.Code, w.Body, h)
			}
			if h.Get("X-Above") == "" || h.Get("Expires") != "" || h.Get("Foretier-Cache-Control") != "" || h.Get("X-Accel-Expires") != "" || c.status == 200 && h.Get("Set-Cookie") != "" {
				t.Errorf("header: %v", h)
			}
		})
	}
}

func TestFallbackIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		release := make(chan struct{})
		atOnce, asked := 0, 0
		then := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			asked++
			atOnce++
			mu.Unlock()
			<-release
			mu.Lock()
			atOnce--
			mu.Unlock()
			w.WriteHeader(404)
		})
		h := router.Fallback(answer(404, "", "Cache-Control: max-age=60"), then)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if w := get(h, "/x"); w.Code != 404 || !strings.HasPrefix(w.Header().Get("Cache-Control"), "max-age=") {
					t.Errorf("got %d %v", w.Code, w.Header())
				}
			})
		}
		synctest.Wait()
		if atOnce != 4 {
			t.Errorf("%d at once, want 4", atOnce)
		}
		close(release)
		wg.Wait()
		for range 100 {
			get(h, "/x")
		}
		if asked != 20 {
			t.Errorf("%d in the first second, want 20", asked)
		}
		time.Sleep(time.Second) // of the fake clock
		for range 100 {
			get(h, "/x")
		}
		if asked != 40 {
			t.Errorf("%d after a second more, want 40", asked)
		}
	})
}

func TestFallbackReportsTheLag(t *testing.T) {
	then := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			w.WriteHeader(404)
		}
	})
	h := router.Fallback(answer(404, ""), then)
	for _, path := range []string{"/a", "/b", "/none", "/a"} {
		get(h, path)
	}
	rt := mustNew(t, router.Rule{Name: "media", When: router.Path("/media/*"), To: wrapping{h}}, router.Rule{Name: "shop", To: say("x")})
	report := rt.Report().Parts[0].Parts[0]
	var got []string
	for _, e := range report.Events {
		got = append(got, e.Text)
	}
	if want := "/b: found at the second only, 1 times|/a: found at the second only, 2 times"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if report.Metrics[0].Value != 4 || report.Metrics[1].Value != 3 {
		t.Errorf("asked, found: %v", report.Metrics)
	}
}

// Nothing of the first answer is left when the second begins: not a flush, not
// what the pool said about its body.
func TestFallbackDropsAllOfTheFirst(t *testing.T) {
	first := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		transit.From(r.Context()).Unproven = true
		w.WriteHeader(404)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		w.Header().Set("X-Late", "1")
		w.WriteHeader(500)
		io.WriteString(w, "lost")
	})
	then := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if transit.From(r.Context()).Unproven {
			t.Error("the second answer starts as unproven")
		}
		w.WriteHeader(201)
	})
	ctx, _ := transit.With(t.Context())
	w := httptest.NewRecorder()
	router.Fallback(first, then).ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if w.Code != 201 || w.Body.Len() > 0 || w.Header().Get("X-Late") != "" {
		t.Errorf("got %d %q %v", w.Code, w.Body, w.Header())
	}
}

// A response goes through as it comes, 1xx and flushes included.
func TestFallbackStreams(t *testing.T) {
	next := make(chan struct{})
	srv := httptest.NewServer(router.Fallback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "one ")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		<-next
		io.WriteString(w, "two")
	}), answer(200, "no")))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var first [4]byte
	if _, err := io.ReadFull(res.Body, first[:]); err != nil {
		t.Fatal(err)
	}
	close(next)
	rest, err := io.ReadAll(res.Body)
	if got := fmt.Sprintf("%s%s %v", first, rest, err); got != "one two <nil>" {
		t.Errorf("got %q", got)
	}
}
