package foretier_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// hostileChain is edge, router and cache before a page.
func hostileChain(t testing.TB) *edge.Server {
	pages := must(cache.New(cache.Options{IgnoreCookies: []string{"_ga", "_gid", "__utm*"}, Rules: cache.Rules{Plan: func(r *http.Request) cache.Plan {
		return cache.Plan{Query: cache.Query{Drop: []string{"utm_*", "gclid", "_ga"}}}
	}}}))
	t.Cleanup(func() { pages.Close() })
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", "4")
		w.Write([]byte("page"))
	})
	admin := router.Admin("/admin", "/wp-admin", "/cron.php").Except("/wp-admin/admin-ajax.php")
	front := must(router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: pages.Handler(origin)},
		router.Rule{Name: "media", When: router.Path("/media/*", "/product/{id}/img"), To: pages.Handler(origin)},
		router.Rule{Name: "shop", To: pages.Handler(origin)}))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", NoAccessLog: true, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() { srv.Close() })
	return srv
}

// least returns the shortest time that f has taken in n turns.
func least(n int, f func() time.Duration) time.Duration {
	best := f()
	for range n - 1 {
		best = min(best, f())
	}
	return best
}

// TestNoHostileRequestIsALever: whatever stands in a request, it costs the chain no
// more than some time that is proportional to its length. It is told in how long
// net/url takes to decode a target of escapes, some 15 to 20 µs on a machine of 2024
// with nothing else to do.
func TestNoHostileRequestIsALever(t *testing.T) {
	const most = 16 // times
	escapes := testkit.Fill("%41", testkit.HostileTarget)
	unit := func() time.Duration {
		return least(50, func() time.Duration {
			began := time.Now()
			if _, err := url.PathUnescape(escapes); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		})
	}
	srv := hostileChain(t)
	ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{})
	hostiles := testkit.Hostiles("/p")
	hostiles["path of readings"] = testkit.HostileReadings
	for what, h := range hostiles {
		ask := func() time.Duration {
			w, r := httptest.NewRecorder(), h.Request(ctx)
			began := time.Now()
			srv.ServeHTTP(w, r)
			return time.Since(began)
		}
		// On a machine that is busy both are measured again, side by side.
		var cost, one time.Duration
		for range 10 {
			if one, cost = unit(), least(30, ask); cost <= most*one {
				break
			}
		}
		t.Logf("%q: %v, %.1f times %v", what, cost, float64(cost)/float64(one), one)
		if cost > most*one {
			t.Errorf("%q costs %v, want at most %d times %v", what, cost, most, one)
		}
	}
}
