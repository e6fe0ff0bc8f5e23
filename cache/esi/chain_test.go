package esi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A shop says how often it has been asked for each of its pages.
type shop struct {
	page, menu, cart atomic.Int64
	told             atomic.Value // of Surrogate-Capability
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html")
	s.told.Store(r.Header.Get("Surrogate-Capability"))
	switch r.URL.Path {
	case "/page":
		h.Set("Surrogate-Control", `content="ESI/1.0"`)
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Cache-Tag", "product-1")
		h.Set("ETag", `"page"`)
		fmt.Fprintf(w, `page %d <esi:include src="/menu"/> <esi:include src="/cart"/>`, s.page.Add(1))
	case "/menu":
		h.Set("Cache-Control", "public, max-age=86400")
		h.Set("Cache-Tag", "menu")
		fmt.Fprintf(w, "menu %d", s.menu.Add(1))
	case "/cart":
		h.Set("Cache-Control", "private")
		fmt.Fprintf(w, "cart %d of %q", s.cart.Add(1), r.Header.Get("Cookie"))
	case "/style.css":
		h.Set("Content-Type", "text/css")
		h.Set("Cache-Control", "public, max-age=3600")
		io.WriteString(w, "body {}")
	default:
		http.NotFound(w, r)
	}
}

// TestThroughACache: template and fragments are stored and purged each on its own, and
// one visitor's fragment is in nobody else's page.
func TestThroughACache(t *testing.T) {
	s := new(shop)
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	h := newProcessor(t, esi.Options{}).Handler(pages.Handler(s))
	for i, c := range []struct{ purge, want string }{
		{"", `page 1 menu 1 cart 1 of "user=1"`},
		{"", `page 1 menu 1 cart 2 of "user=2"`},
		{"menu", `page 1 menu 2 cart 3 of "user=3"`},
		{"product-1", `page 2 menu 2 cart 4 of "user=4"`},
		{"", `page 2 menu 2 cart 5 of "user=5"`},
	} {
		if c.purge != "" {
			must(pages.Invalidate(context.Background(), cache.Invalidation{Tags: []string{c.purge}, Hard: true}))
		}
		user := "user=" + c.want[len(c.want)-2:len(c.want)-1]
		fields := []string{"Cookie", user, "Accept-Encoding", "gzip"}
		if i > 0 {
			fields = append(fields, "If-None-Match", `"page"`)
		}
		w := get(h, "/page", fields...)
		if w.Body.String() != c.want || w.Code != 200 || w.Header().Get("Cache-Control") != "private, no-cache" || w.Header()["Etag"] != nil || w.Header()["Cache-Tag"] != nil {
			t.Errorf("got %d %q with %v, want %q", w.Code, w.Body, w.Header(), c.want)
		}
	}
	get(h, "/style.css", "Surrogate-Capability", `evil="ESI/1.0"`)
	if got, want := s.told.Load(), `Foretier="Surrogate/1.0", Foretier-ESI="ESI/1.0"`; got != want {
		t.Errorf("a backend was told of %s, want %s", got, want)
	}
}

// serve runs an edge in front of h.
func serve(tb testing.TB, h http.Handler) *edge.Server {
	tb.Helper()
	srv := must(edge.New(h, edge.Options{Listener: testkit.Listen(tb), Logger: slog.New(slog.DiscardHandler), Linger: -1}))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return srv
}

// instants returns how many requests srv has answered from their heads.
func instants(srv *edge.Server) float64 {
	for _, m := range srv.Report().Metrics {
		if m.Name == "requests_instant_total" {
			return m.Value
		}
	}
	return -1
}

// TestInstantIsNoWayAround: what an edge answers from a request's head is what needs
// no composing, and no template.
func TestInstantIsNoWayAround(t *testing.T) {
	for name, mount := range map[string]func(p *esi.Processor, pages *cache.Cache, s *shop) http.Handler{
		"within a rule": func(p *esi.Processor, pages *cache.Cache, s *shop) http.Handler {
			return must(router.New(router.Options{}, router.Rule{Name: "shop", To: p.Handler(pages.Handler(s))}))
		},
		"above the router": func(p *esi.Processor, pages *cache.Cache, s *shop) http.Handler {
			return p.Handler(must(router.New(router.Options{}, router.Rule{Name: "shop", To: pages.Handler(s)})))
		},
		"without a router": func(p *esi.Processor, pages *cache.Cache, s *shop) http.Handler { return p.Handler(pages.Handler(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			pages := must(cache.New(cache.Options{}))
			defer pages.Close()
			srv := serve(t, mount(newProcessor(t, esi.Options{}), pages, new(shop)))
			const fields = "\r\nHost: shop.example\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n"
			ask := func(path string) string {
				return testkit.Send(t, srv.Addr().String(), "GET "+path+" HTTP/1.1"+fields+"GET "+path+" HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: gzip, br\r\nConnection: close\r\n\r\n")
			}
			for i := range 4 {
				got := ask("/page")
				if strings.Count(got, "page 1 menu 1 cart") != 2 || strings.Contains(got, "esi") || strings.Contains(got, "Surrogate") || strings.Contains(got, "ETag") {
					t.Errorf("round %d: got %s", i, got)
				}
				if n := instants(srv); n != 0 {
					t.Fatalf("%v pages were answered without being composed", n)
				}
			}
			for range 4 {
				if got := ask("/style.css"); strings.Count(got, "body {}") != 2 {
					t.Errorf("got %s", got)
				}
			}
			if n := instants(srv); n < 2 {
				t.Errorf("%v requests for what is not composed were answered at once", n)
			}
		})
	}
}

// TestRulesHold: what a rule keeps from a visitor it keeps from the visitor's pages,
// wherever pages are composed, and what stands above the router too.
func TestRulesHold(t *testing.T) {
	for name, inRule := range map[string]bool{"within a rule": true, "above the router": false} {
		t.Run(name, func(t *testing.T) {
			answers := func(what string) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					if r.URL.Path == "/page" {
						w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
						io.WriteString(w, `<esi:include src="/admin/users"/><esi:include src="//shop.example/x/%2e%2e/admin/users"/><esi:include src="/closed"/><esi:include src="/office/x"/>, <esi:include src="/menu"/>`)
						return
					}
					io.WriteString(w, what)
				})
			}
			p := newProcessor(t, esi.Options{})
			apps := answers("APPS")
			if inRule {
				apps = p.Handler(apps)
			}
			rt := must(router.New(router.Options{Logger: new(testkit.Log).Logger()},
				router.Rule{Name: "admin", When: router.Admin("/admin"), To: answers("ADMIN"), Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
				router.Rule{Name: "office", When: router.Path("/office/*"), To: answers("OFFICE"), Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
				router.Rule{Name: "shop", To: apps}))
			var front http.Handler = rt
			if !inRule {
				front = p.Handler(rt)
			}
			door := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/closed" {
					http.Error(w, "closed", http.StatusForbidden)
					return
				}
				front.ServeHTTP(w, r)
			})
			srv := must(edge.New(door, edge.Options{Listener: testkit.Listen(t), Logger: slog.New(slog.DiscardHandler)}))
			defer srv.Close()
			for client, want := range map[string]string{
				"192.0.2.7:1":    "ADMINADMIN" + missing + missing + ", APPS",
				"198.51.100.7:1": missing + missing + missing + "OFFICE, APPS",
				"203.0.113.7:1":  missing + missing + missing + missing + ", APPS",
			} {
				r := httptest.NewRequest("GET", "http://shop.example/page", nil)
				r.RemoteAddr = client
				w := httptest.NewRecorder()
				srv.ServeHTTP(w, r)
				if got := w.Body.String(); got != want {
					t.Errorf("%s gets %q, want %q", client, got, want)
				}
			}
		})
	}
}

// TestExplain: a page's way is told as it is served.
func TestExplain(t *testing.T) {
	s := new(shop)
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	rt := must(router.New(router.Options{}, router.Rule{Name: "shop", To: newProcessor(t, esi.Options{}).Handler(pages.Handler(s))}))
	explains := func(method, path string, want ...string) {
		t.Helper()
		d := rt.Explain(httptest.NewRequest(method, "http://shop.example"+path, nil)).String()
		for _, words := range want {
			if !strings.Contains(d, words) {
				t.Errorf("%s %s is explained as\n%s, want %q", method, path, d, words)
			}
		}
	}
	explains("GET", "/page", "esi: may compose", "cache: miss")
	get(rt, "/page")
	explains("GET", "/page", "esi: composes (its answer was composed the last time)", "without codings", "cache: hit")
	explains("POST", "/page", "esi: composes (it cannot be repeated", "cache: pass")
	explains("GET", "/style.css", "esi: may compose")
	up := httptest.NewRequest("GET", "http://shop.example/page", nil)
	up.Header.Set("Upgrade", "websocket")
	if d := rt.Explain(up).String(); !strings.Contains(d, "esi: passes (an upgrade)") {
		t.Errorf("an upgrade is explained as %s", d)
	}
	if got := fmt.Sprint(s.page.Load(), s.menu.Load(), s.cart.Load()); got != "1 1 1" {
		t.Errorf("explaining has asked the backend: %s", got)
	}
}

// TestWhatLiesBelowIsSeen by whoever asks.
func TestWhatLiesBelowIsSeen(t *testing.T) {
	sick := &checker{}
	h := newProcessor(t, esi.Options{}).Handler(sick)
	if health.Healthy(h, httptest.NewRequest("GET", "/", nil)) {
		t.Error("it is healthy, and what is below is not")
	}
	n := 0
	for below := range health.Chain(h) {
		if below == http.Handler(sick) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("what is below is seen %d times", n)
	}
}

type checker struct{ http.Handler }

func (*checker) Healthy(*http.Request) bool { return false }

func TestOptions(t *testing.T) {
	for name, opts := range map[string]esi.Options{
		"a name": {Name: "a b"}, "a scheme": {Hosts: []string{"http://a"}}, "a port": {Hosts: []string{"a:80"}}, "no host": {Hosts: []string{""}},
		"depth": {MaxDepth: -1}, "fragments": {MaxFragments: -1}, "bytes": {MaxBytes: -1}, "a wait": {Wait: -1},
	} {
		if _, err := esi.New(opts); err == nil {
			t.Errorf("%s that cannot be is accepted", name)
		}
	}
}

// TestWhatIsTaught: a page that is composed, or was to be, teaches nothing.
func TestWhatIsTaught(t *testing.T) {
	b := &backend{own: map[string]http.HandlerFunc{
		"/page":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") },
		"/esi":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") },
		"/esi/z": zipped("x"),
		"/turns": zipped("x"), // which is ESI in gzip, and none without
	}}
	pages := must(cache.New(cache.Options{Lifetimes: map[int]time.Duration{200: time.Minute}}))
	defer pages.Close()
	for path, want := range map[string]bool{"/page": true, "/esi": false, "/esi/z": false, "/turns": false} {
		for range 2 { // what answers is stored, in both forms
			get(newProcessor(t, esi.Options{}).Handler(pages.Handler(b)), path, "Accept-Encoding", "gzip")
		}
		h := newProcessor(t, esi.Options{}).Handler(pages.Handler(b))
		for round := range 3 {
			r := httptest.NewRequest("GET", "http://shop.example"+path, nil)
			r.Header.Set("Accept-Encoding", "gzip")
			ctx, rec := transit.With(r.Context())
			rec.Lesson.Hand(h)
			h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
			if page, _ := rec.Lesson.Learned(); (page != nil) != want {
				t.Errorf("%s, round %d: taught %t", path, round, page != nil)
			}
		}
	}
}

// TestOverHTTP2: pages are composed on connections of all kinds, side by side.
func TestOverHTTP2(t *testing.T) {
	s := new(shop)
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	rt := must(router.New(router.Options{}, router.Rule{Name: "shop", To: newProcessor(t, esi.Options{}).Handler(pages.Handler(s))}))
	srv := must(edge.New(rt, edge.Options{Listener: testkit.Listen(t), Logger: slog.New(slog.DiscardHandler)}))
	defer srv.Close()
	mounted := httptest.NewUnstartedServer(srv)
	mounted.EnableHTTP2 = true
	mounted.StartTLS()
	defer mounted.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				res, err := mounted.Client().Get(mounted.URL + "/page")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if !strings.HasPrefix(string(body), "page 1 menu 1 cart ") || err != nil || res.ProtoMajor != 2 {
					t.Errorf("got %q over %s, %v", body, res.Proto, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestARefreshIsForAComposedPageToo: what is fetched behind a visitor's back is told of
// us like the rest.
func TestARefreshIsForAComposedPageToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := &backend{pages: map[string]string{"/menu": "M"}, own: map[string]http.HandlerFunc{"/page": func(w http.ResponseWriter, r *http.Request) {
			n++
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
			if !strings.Contains(r.Header.Get("Surrogate-Capability"), "ESI/1.0") {
				io.WriteString(w, "nobody composes")
				return
			}
			w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
			fmt.Fprintf(w, `%d<esi:include src="/menu"/>`, n)
		}}}
		pages := must(cache.New(cache.Options{}))
		defer pages.Close()
		h := newProcessor(t, esi.Options{}).Handler(pages.Handler(b))
		for _, want := range []string{"1M", "1M", "2M", "3M"} {
			if got := get(h, "/page").Body.String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if want == "1M" {
				time.Sleep(11 * time.Second) // it is stale then, and fetched anew
			}
			synctest.Wait()
		}
	})
}
