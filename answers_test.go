package foretier_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestAnAppWithABasePath of its own and a name of its own is shown under another, through
// the whole chain: where it redirects to, its cookies and its errors are the tier's.
func TestAnAppWithABasePath(t *testing.T) {
	var calls atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h := w.Header()
		h.Set("X-Powered-By", "app/1.0")
		switch r.URL.Path {
		case "/app/login":
			h.Set("Set-Cookie", "sid=1; Path=/app; HttpOnly")
			http.Redirect(w, r, "http://app.internal/app/home?x=%2F", http.StatusSeeOther)
		case "/app/old":
			h.Set("Cache-Control", "max-age=60")
			http.Redirect(w, r, "/app/new", http.StatusMovedPermanently)
		case "/app/down":
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "<h1>stack trace")
		case "/app/page":
			h.Set("Cache-Control", "max-age=60")
			io.WriteString(w, "page")
		default:
			http.NotFound(w, r)
		}
	}))
	defer app.Close()
	pool := must(balancer.New(balancer.Backends(app.URL+"/app"), balancer.Options{}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	answers := must(router.NewAnswers(router.AnswerOptions{
		Hosts: []string{"app.internal"}, From: "/app", To: "/shop", Delete: []string{"X-Powered-By"}, Set: http.Header{"X-Frame-Options": {"DENY"}},
	}))
	shown := must(router.NewErrorPages(map[int][]byte{404: []byte("<h1>not here"), 503: nil}))
	front := must(router.New(router.Options{},
		router.Rule{Name: "shop", When: router.Path("/shop", "/shop/*"), To: pages.Handler(answers.Handler(pool)),
			Use: []func(http.Handler) http.Handler{shown.Handler, router.StripPrefix("/shop")}},
		router.Rule{Name: "rest", To: http.NotFoundHandler()},
	))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Linger: -1, NoAccessLog: true, Pages: map[int][]byte{503: []byte("back soon")}}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	defer func() { stop(); <-done }()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path, accept string) (*http.Response, string) {
		r := must(http.NewRequest("GET", fmt.Sprintf("http://%s%s", srv.Addr(), path), nil))
		r.Header.Set("Accept", accept)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res, string(must(io.ReadAll(res.Body)))
	}
	for _, c := range []struct {
		path, accept, status, location, body string
	}{
		{"/shop/login", "*/*", "303", "/shop/home?x=%2F", ""},
		{"/shop/old", "*/*", "301", "/shop/new", ""},
		{"/shop/old", "*/*", "301", "/shop/new", ""},
		{"/shop/page", "*/*", "200", "", "page"},
		{"/shop/page", "*/*", "200", "", "page"},
		{"/shop/gone", "text/html", "404", "", "<h1>not here"},
		{"/shop/gone", "application/json", "404", "", `{"status":404,"error":"Not Found",`},
		{"/shop/down", "text/html", "503", "", "back soon"},
	} {
		res, body := get(c.path, c.accept)
		if !strings.HasPrefix(res.Status, c.status) || res.Header.Get("Location") != c.location || !strings.HasPrefix(body, c.body) ||
			res.Header.Get("X-Powered-By") != "" || res.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s for %s: got %s %q %v", c.path, c.accept, res.Status, body, res.Header)
		}
		if c.path == "/shop/login" && res.Header.Get("Set-Cookie") != "sid=1; Path=/shop; HttpOnly" {
			t.Errorf("got %v", res.Header)
		}
	}
	if n := calls.Load(); n != 6 {
		t.Errorf("the app was asked %d times", n)
	}
}

// TestRulesThatReadWhatResponsesDoNot: an editors' preview is chosen by a parameter of
// which both its pages and the shop's say that it is of no matter.
func TestRulesThatReadWhatResponsesDoNot(t *testing.T) {
	server := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("No-Vary-Search", "params")
			io.WriteString(w, name+r.URL.RequestURI())
		})
	}
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	front := must(router.New(router.Options{},
		router.Rule{Name: "preview", When: router.All(router.Path("/p"), router.Query("preview")), To: pages.Handler(server("draft "))},
		router.Rule{Name: "shop", To: pages.Handler(server("shop "))},
	))
	for range 3 {
		for path, want := range map[string]string{
			"/p?preview=1": "draft /p?preview=1", "/p?preview=2": "draft /p?preview=2", "/p": "shop /p", "/p?x": "shop /p?x",
		} {
			w := httptest.NewRecorder()
			if front.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Body.String() != want {
				t.Errorf("%s: got %q", path, w.Body)
			}
		}
		for i, want := range []string{"shop /q?0", "shop /q", "shop /q"} { // where no rule reads it
			w := httptest.NewRecorder()
			if front.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprint("/q?", i), nil)); w.Body.String() != want {
				t.Errorf("/q?%d: got %q", i, w.Body)
			}
		}
	}
}
