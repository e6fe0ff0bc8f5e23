package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// backend answers with its count, and whatever header the test gives.
type backend struct {
	calls  atomic.Int32
	header http.Header
	answer func(w http.ResponseWriter, r *http.Request, n int)
	sick   atomic.Bool
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(b.calls.Add(1))
	for name, values := range b.header {
		w.Header()[name] = values
	}
	if b.answer != nil {
		b.answer(w, r, n)
		return
	}
	fmt.Fprintf(w, "answer %d", n)
}

func (b *backend) Healthy(*http.Request) bool { return !b.sick.Load() }

func control(value string) http.Header { return http.Header{"Cache-Control": {value}} }

// open returns the backend behind a cache that ends with the test.
func open(t testing.TB, opts Options, b http.Handler) (*Cache, http.Handler) {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.Handler(b)
}

// get asks h; header are name, value pairs.
func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return do(h, r)
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got %d %q, want %d %q (%v)", w.Code, w.Body, status, body, w.Header())
	}
}

func TestFreshHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		w := get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if got := w.Header().Get("Cache-Status"); got != "Foretier; fwd=uri-miss; fwd-status=200; stored" {
			t.Errorf("Cache-Status of a miss: %s", got)
		}
		time.Sleep(7 * time.Second)
		w = get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if w.Header().Get("Age") != "7" || w.Header().Get("Cache-Status") != "Foretier; hit; ttl=53" {
			t.Errorf("header of a hit: %v", w.Header())
		}
		if got := w.Header().Get("Content-Length"); got != "8" {
			t.Errorf("Content-Length: %q", got)
		}
		time.Sleep(54 * time.Second)
		want(t, get(h, "http://a.example/x"), 200, "answer 2")
	})
}

func TestNothingStatedNothingStored(t *testing.T) {
	b := &backend{}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 2")
}

func TestRuleGivesLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		_, h := open(t, Options{Rules: Rules{Verdict: func(_ *http.Request, _ Head, v Verdict) Verdict {
			if v.Store && !v.Stated {
				v.Fresh = time.Minute
			}
			return v
		}}}, b)
		get(h, "http://a.example/")
		want(t, get(h, "http://a.example/"), 200, "answer 1")
		time.Sleep(61 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 1") // within the grace of 10 s
		synctest.Wait()
		want(t, get(h, "http://a.example/"), 200, "answer 2")
		time.Sleep(71 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 3")
	})
}

func TestMissesAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			fmt.Fprintf(w, "answer %d", n)
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
			io.WriteString(w, " and the end")
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "answer 1 and the end") })
		}
		wg.Wait()
		if n := b.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestVary(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}},
		answer: func(w http.ResponseWriter, r *http.Request, n int) {
			fmt.Fprintf(w, "%s %d", r.Header.Get("Accept-Language"), n)
		}}
	_, h := open(t, Options{}, b)
	want(t, get(h, "http://a.example/", "Accept-Language", "de"), 200, "de 1")
	want(t, get(h, "http://a.example/", "Accept-Language", "en"), 200, "en 2")
	want(t, get(h, "http://a.example/", "Accept-Language", "DE"), 200, "de 1")
	want(t, get(h, "http://a.example/"), 200, " 3")
	want(t, get(h, "http://a.example/", "Accept-Language", "en"), 200, "en 2")
}

func TestGraceRefreshesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10, stale-while-revalidate=30"),
			answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				time.Sleep(time.Second)
				fmt.Fprintf(w, "answer %d", n)
			}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(11 * time.Second)
		begun := time.Now()
		for range 5 {
			want(t, get(h, "http://a.example/"), 200, "answer 1")
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited %v for a refresh", d)
		}
		time.Sleep(2 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 2")
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestStaleOnError(t *testing.T) {
	failures := map[string]func(w http.ResponseWriter, r *http.Request){
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"the tier's own error": func(w http.ResponseWriter, r *http.Request) {
			transit.Fail(w, r, 502, errors.New("refused"))
		},
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 1 {
						fail(w, r)
						return
					}
					w.Header().Set("Cache-Control", "max-age=10")
					io.WriteString(w, "good")
				}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Hour)
				want(t, get(h, "http://a.example/"), 200, "good")
				time.Sleep(24 * time.Hour)
				func() {
					defer func() { _ = recover() }()
					if w := get(h, "http://a.example/"); w.Code < 500 {
						t.Errorf("after ErrorGrace: got %d %s", w.Code, w.Body)
					}
				}()
			})
		})
	}
}

func TestSickBackendLengthensGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10")}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Hour)
		b.sick.Store(true)
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}}}
		c, h := open(t, Options{}, b)
		purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		fill := func() {
			get(h, "http://a.example/x")
			get(h, "http://a.example/x", "Accept-Language", "de")
			get(h, "https://a.example/x")
			get(h, "http://a.example/y")
		}
		fill()
		r := httptest.NewRequest("PURGE", "http://a.example/x", nil)
		r.RemoteAddr = "192.0.2.7:1"
		if w := do(purge, r); w.Code != 200 {
			t.Fatalf("PURGE: %d %s", w.Code, w.Body)
		}
		fill()
		if n := b.calls.Load(); n != 7 { // 4, and 3 again
			t.Errorf("%d calls after a hard purge", n)
		}
		r.Header.Set("Soft-Purge", "1")
		do(purge, r)
		fill()
		synctest.Wait()
		if n := b.calls.Load(); n != 10 {
			t.Errorf("%d calls after a soft purge", n)
		}
		do(purge, r)
		time.Sleep(11 * time.Second)
		if w := get(h, "http://a.example/x"); !strings.HasPrefix(w.Body.String(), "answer 1") || w.Body.String() == "answer 1" {
			t.Errorf("longer than 10 s after a soft purge: %s", w.Body)
		}
		r.RemoteAddr = "203.0.113.1:1"
		if w := do(purge, r); w.Code != 403 {
			t.Errorf("a stranger's PURGE: %d", w.Code)
		}
		r.RemoteAddr = "192.0.2.7:1"
		r.Method = "GET"
		if w := do(purge, r); w.Code != 405 {
			t.Errorf("GET: %d", w.Code)
		}
	})
	c, _ := open(t, Options{}, &backend{})
	if _, err := c.PurgeHandler(nil); !errors.Is(err, ErrPurgeOpen) {
		t.Errorf("a purge handler for nobody: %v", err)
	}
}

func TestPurgeBeatsRunningFetch(t *testing.T) {
	for name, inv := range map[string]Invalidation{
		"URL":    {URL: "http://a.example/x", Hard: true},
		"host":   {Host: "a.example", Hard: true},
		"prefix": {PathPrefix: "/x", Hard: true},
		"all":    {All: true, Hard: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					fmt.Fprintf(w, "answer %d", n) // as of now
					time.Sleep(2 * time.Second)
				}}
				c, h := open(t, Options{}, b)
				go get(h, "http://a.example/x")
				time.Sleep(time.Second)
				if _, err := c.Invalidate(context.Background(), inv); err != nil {
					t.Fatal(err)
				}
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
				time.Sleep(3 * time.Second)
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
			})
		})
	}
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/x")
	do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
	want(t, get(h, "http://a.example/x"), 200, "answer 3")
}

func TestCookies(t *testing.T) {
	cases := map[string]struct {
		cookie, control string
		want            string
	}{
		"a visitor's":          {"sid=1", "max-age=60", "answer 2"},
		"explicitly public":    {"sid=1", "public, max-age=60", "answer 1"},
		"s-maxage":             {"sid=1", "s-maxage=60", "answer 1"},
		"ignored":              {"_ga=1; _ga_X=2", "max-age=60", "answer 1"},
		"ignored and another":  {"_ga=1; sid=2", "max-age=60", "answer 2"},
		"the pool's own":       {"pin=1", "max-age=60", "answer 1"},
		"empty":                {"", "max-age=60", "answer 1"},
		"a name with no value": {"sid", "max-age=60", "answer 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control(c.control)}
			_, h := open(t, Options{IgnoreCookies: []string{"_ga*"}}, pinning{b})
			get(h, "http://a.example/", "Cookie", c.cookie)
			want(t, get(h, "http://a.example/"), 200, c.want)
			want(t, get(h, "http://a.example/", "Cookie", "sid=9"), 200, c.want)
		})
	}
}

type pinning struct{ *backend }

func (pinning) OwnsCookie(name string) bool { return name == "pin" }

func TestSetCookieIsNotShared(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"public, max-age=60"}, "Set-Cookie": {"sid=1"}}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	w := get(h, "http://a.example/")
	want(t, w, 200, "answer 2")
	if got := w.Header().Get("Cache-Status"); got != `Foretier; fwd=uri-miss; fwd-status=200; detail="not to be stored lately"` {
		t.Errorf("Cache-Status: %s", got)
	}
}

func TestBadOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"name": {Name: "a b"}, "small": {MaxBytes: 1}, "body": {MaxBody: -1}, "wait": {Wait: -1}, "fetch": {Fetch: -1},
	} {
		if _, err := New(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTags(t *testing.T) {
	for field, value := range map[string]string{
		"Cache-Tag": "product-5, catalogue", "Surrogate-Key": "product-5 catalogue",
		"Xkey": "catalogue product-5", "X-Magento-Tags": "catalogue,product-5",
	} {
		t.Run(field, func(t *testing.T) {
			b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, field: {value}}}
			c, h := open(t, Options{}, b)
			for range 2 {
				if w := get(h, "http://a.example/"); w.Header()[field] != nil {
					t.Errorf("the client sees the tags: %v", w.Header())
				}
			}
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 1")
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"other", "product-5"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 2")
		})
	}
}

func TestDepends(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		Depends(r.Context(), "product:42")
		fmt.Fprintf(w, "answer %d", n)
	}}
	c, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 1")
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product:42"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 2")
	Depends(context.Background(), "x") // nothing happens
}
