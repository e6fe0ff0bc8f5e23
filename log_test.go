package foretier_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

// TestWhoBeginsLogs: what fails below is logged once, by the part at which the
// request comes in, wherever that is. Each has a log of its own here.
func TestWhoBeginsLogs(t *testing.T) {
	var pools, caches, routers, edges, sessions testkit.Log
	pool := must(balancer.New(balancer.Backends("http://"+testkit.Nobody(t)), balancer.Options{Logger: pools.Logger()}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{Logger: caches.Logger()}))
	defer pages.Close()
	route := func(to http.Handler) *router.Router {
		return must(router.New(router.Options{Logger: routers.Logger()}, router.Rule{Name: "shop", To: to}))
	}
	front := func(to http.Handler) *edge.Server {
		srv := must(edge.New(to, edge.Options{Addr: "127.0.0.1:0", Logger: edges.Logger()}))
		t.Cleanup(func() { _ = srv.Close() })
		return srv
	}
	visits := must(session.New(session.Memory(), session.Options{Logger: sessions.Logger()}))
	defer visits.Close()
	split := must(router.NewSplit("try", router.Arm{Name: "a", Weight: 1, To: pool}))
	var others testkit.Log // of what has no Logger of its own
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(others.Logger())

	logs := map[string]*testkit.Log{"pool": &pools, "cache": &caches, "router": &routers, "edge": &edges, "session": &sessions, "default": &others}
	for name, c := range map[string]struct {
		h      http.Handler
		method string
		logs   string
	}{
		"pool":            {pool, "GET", "pool"},
		"fallback":        {router.Fallback(pool, pool), "GET", "pool"},
		"session":         {visits.Handler(pool), "GET", "pool"}, // which tells nobody below
		"cache, a fetch":  {pages.Handler(pool), "GET", "cache"},
		"cache, a pass":   {pages.Handler(pool), "PUT", "cache"},
		"split":           {split, "GET", "default"},
		"router":          {route(pool), "GET", "router"},
		"router, a fetch": {route(pages.Handler(pool)), "GET", "router"},
		"edge":            {front(route(split)), "GET", "edge"},
		"edge, a fetch":   {front(route(visits.Handler(pages.Handler(pool)))), "GET", "edge"},
	} {
		before := map[string]int{}
		lines := func(log *testkit.Log) (n int) {
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "refused") && strings.Contains(line, "method=") {
					n++
				}
			}
			return n
		}
		for who, log := range logs {
			before[who] = lines(log)
		}
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, httptest.NewRequest(c.method, "http://shop.example/"+strings.ReplaceAll(name, " ", "-"), nil))
		if w.Code != http.StatusBadGateway && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d", name, w.Code)
		}
		for who, log := range logs {
			want := 0
			if who == c.logs {
				want = 1
			}
			if got := lines(log) - before[who]; got != want {
				t.Errorf("%s: %d lines of the %s's, want %d:\n%s", name, got, who, want, log)
			}
		}
	}
}

// TestACallOfAPoolLogsWhatEndsLater: an error that RoundTrip returns is its
// caller's, one inside the body is logged as well.
func TestACallOfAPoolLogsWhatEndsLater(t *testing.T) {
	url, _ := testkit.HTTPBackend(t, func(c net.Conn, r *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 100000))
		_ = c.Close()
	})
	for backend, want := range map[string]int{url: 1, "http://" + testkit.Nobody(t): 0} {
		var log testkit.Log
		pool := must(balancer.New(balancer.Backends(backend), balancer.Options{Logger: log.Logger()}))
		res, err := pool.RoundTrip(must(http.NewRequest("GET", "http://shop.example/page", nil)))
		if (err == nil) != (want == 1) {
			t.Error(err)
		}
		if err == nil {
			if _, err := io.Copy(io.Discard, res.Body); err == nil {
				t.Error("half a body is a whole one")
			}
			_ = res.Body.Close()
		}
		if got := strings.Count(log.String(), "request failed"); got != want {
			t.Errorf("%d lines, want %d: %s", got, want, &log)
		}
		_ = pool.Close()
	}
}

// TestAPurgeThatIsRefusedIsLogged where nobody above logs.
func TestAPurgeThatIsRefusedIsLogged(t *testing.T) {
	var log testkit.Log
	pages := must(cache.New(cache.Options{Logger: log.Logger()}))
	defer pages.Close()
	purge := must(pages.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}))
	stranger := httptest.NewRequest("PURGE", "http://shop.example/", nil)
	stranger.RemoteAddr = "198.51.100.1:1"
	purge.ServeHTTP(httptest.NewRecorder(), stranger)
	log.Wants(t, "level=WARN", "part=Foretier", "status=403", "may not purge")
	tagged := httptest.NewRequest("PURGE", "http://shop.example/", nil)
	tagged.RemoteAddr = "192.0.2.1:1"
	tagged.Header.Set("X-Ban-Url", ".*")
	purge.ServeHTTP(httptest.NewRecorder(), tagged)
	log.Wants(t, "level=WARN", "part=Foretier", "status=400", "X-Ban-Url")
}
