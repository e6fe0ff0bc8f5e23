package foretier_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

// compressed is middleware as others write it, for net/http alone.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Add("Vary", "Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		next.ServeHTTP(zipped{w, z}, r)
		_ = z.Close()
	})
}

type zipped struct {
	http.ResponseWriter
	z io.Writer
}

func (z zipped) Unwrap() http.ResponseWriter { return z.ResponseWriter }
func (z zipped) WriteHeader(status int) {
	z.Header().Del("Content-Length")
	z.ResponseWriter.WriteHeader(status)
}
func (z zipped) Write(p []byte) (int, error) { return z.z.Write(p) }

// traced is middleware of a rule's.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Traceparent", "00-1-1-00")
		next.ServeHTTP(w, r)
	})
}

// TestWhatAWrapperHides: middleware between the cache and its pool hides from the
// rest of the tier what it wraps, unless it is shown. Middleware of a rule's Use
// hides nothing.
func TestWhatAWrapperHides(t *testing.T) {
	for name, wrap := range map[string]func(outer, inner http.Handler) http.Handler{
		"bare":  func(outer, _ http.Handler) http.Handler { return outer },
		"shown": health.Wrap,
		"shown twice": func(outer, inner http.Handler) http.Handler {
			return health.Wrap(health.Wrap(outer, inner), inner)
		},
	} {
		visible := name != "bare"
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testWhatAWrapperHides(t, wrap, visible) }) })
	}
}

func testWhatAWrapperHides(t *testing.T, wrap func(outer, inner http.Handler) http.Handler, visible bool) {
	calls := 0
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Cache-Control", "max-age=60, stale-if-error=600")
		_, _ = io.WriteString(w, strconv.Itoa(calls))
	})
	sticky := must(session.NewSticky(make([]byte, 32), session.StickyOptions{Name: "pin"}))
	apps := must(balancer.New([]balancer.Backend{{Name: "web1", Handler: app}}, balancer.Options{Name: "apps", Affinity: sticky}))
	defer apps.Close()
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	between := wrap(compressed(apps), apps)
	front := must(router.New(router.Options{}, router.Rule{Name: "shop",
		Use: []func(http.Handler) http.Handler{traced}, To: pages.Handler(between)}))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0"}))
	defer srv.Close()
	get := func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "http://shop.example"+path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		return w
	}
	sees := func(what string, seen bool) {
		t.Helper()
		if seen != visible {
			t.Errorf("%s: seen %t, want %t", what, seen, visible)
		}
	}

	d := health.Explain(srv, httptest.NewRequest("GET", "http://shop.example/", nil)).String()
	sees("the explanation", strings.Contains(d, "pool apps"))
	if !strings.Contains(d, "http.HandlerFunc does not explain itself") {
		t.Errorf("the wrapper is left out:\n%s", d)
	}

	err := front.Prove(router.Only(apps))
	sees("the proof", err == nil)
	if !visible && !errors.Is(err, router.ErrOpaque) {
		t.Errorf("Prove: %v", err)
	}

	get("/cookie", "Cookie", "pin=1")
	sees("the pool's cookie", get("/cookie").Body.String() == "1")

	w := get("/grace", "Accept-Encoding", "gzip")
	if w.Code != 200 || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("it does not serve: %d %v", w.Code, w.Header())
	}
	get("/grace")
	time.Sleep(2 * time.Minute)
	if err := apps.SetMode("web1", balancer.Maintenance); err != nil {
		t.Fatal(err)
	}
	sees("the pool's health", strings.Contains(get("/grace").Header().Get("Cache-Status"), "backend is sick"))

	reporter, ok := between.(health.Reporter)
	sees("the report", ok && reporter.Report().Name == "apps")
}

// A path that a pool puts in front is proved below a wrapper, too.
func TestBasePathBelowAWrapper(t *testing.T) {
	apps := must(balancer.New(balancer.Backends("http://192.0.2.1/admin"), balancer.Options{}))
	defer apps.Close()
	origin := http.NotFoundHandler()
	admin := router.Admin("/admin")
	front := must(router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "shop", To: health.Wrap(compressed(apps), apps)}))
	err := front.Prove(router.Only(origin).For(admin))
	var found *router.Counterexample
	if !errors.As(err, &found) || !strings.HasPrefix(found.Outgoing, "/admin") {
		t.Errorf("got %v, want a counterexample whose base path makes it /admin", err)
	}
}

// What a wrapper got that is nil is told when the tier is built.
func TestWrapperOfNothing(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"no outer":     health.Wrap(nil, http.NotFoundHandler()),
		"a nil outer":  health.Wrap(http.HandlerFunc(nil), http.NotFoundHandler()),
		"no inner":     health.Wrap(compressed(nil), nil),
		"a nil inner ": health.Wrap(compressed((*balancer.Pool)(nil)), (*balancer.Pool)(nil)),
	} {
		if _, err := router.New(router.Options{}, router.Rule{Name: "shop", To: h}); !errors.Is(err, router.ErrRules) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
