package foretier_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/edgetest"
	"github.com/foretier/foretier/router/routertest"
	"github.com/foretier/foretier/session"
)

// What README shows of testing a front.
func TestFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where hours take no time
		shop := new(cachetest.Origin) // in place of the application's servers
		shop.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
		shop.Set("/healthz", "ok")
		front, parts := newFront(t, shop)
		tier := edgetest.Serve(t, front, edge.Options{}, parts...) // HTTP/1.1, without a port
		time.Sleep(time.Minute)                                    // the probes have passed

		routertest.Reaches(t, tier, "origin", "/admin", "/cron.php")
		routertest.Table(t, tier,
			routertest.Row{Target: "/old.html", Status: 301, Has: []string{"Location: /new"}, Pool: routertest.None},
			routertest.Row{Target: "/intern", Client: "203.0.113.9", Status: 403},
			routertest.Row{Method: "PUT", Target: "/media/a.png", Pool: "origin"})
		cachetest.Table(t, tier,
			cachetest.Row{Target: "/product/42", Body: "10 €", From: "miss"},
			cachetest.Row{After: 30 * time.Minute, Target: "/product/42", From: "hit"},
			cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "10.0.0.7", Fields: []string{"Soft-Purge: 1"}, Status: 200},
			cachetest.Row{Do: shop.Die, After: 3 * time.Hour, Target: "/product/42", Body: "10 €", From: "stale"}) // the servers are down
	})
}

// newFront is a front as main makes it, but for its servers.
func newFront(t *testing.T, shop http.Handler) (http.Handler, []edge.Runner) {
	admin := router.Admin("/admin", "/cron.php")
	seldom := health.Schedule{Every: time.Minute} // of hours, each probe costs real time
	origin := must(balancer.New([]balancer.Backend{{Name: "web0", Handler: shop}}, balancer.Options{Name: "origin", Probe: health.HTTP("/healthz"), Schedule: seldom}))
	apps := must(balancer.New([]balancer.Backend{{Name: "web1", Handler: shop}, {Name: "web2", Handler: shop}}, balancer.Options{
		Name: "apps", Probe: health.HTTP("/healthz"), Schedule: seldom, Refuse: admin,
		Affinity: must(session.NewSticky([]byte(strings.Repeat("k", 32)), session.StickyOptions{})),
	}))
	pages := must(cache.New(cache.Options{}))
	moved := must(router.ReadRedirects(strings.NewReader("/old.html,/new\n")))
	office := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	purge := must(pages.PurgeHandler(office))
	front := must(router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}},
		router.Rule{Name: "purge", When: router.Method(cache.PurgeMethods()...), To: purge},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "moved", When: moved, To: moved},
		router.Rule{Name: "intern", When: router.Path("/intern"), Allow: office, To: apps},
		router.Rule{Name: "login", When: router.Path("/login"), Limit: router.Limit{Rate: 0.1, Burst: 2}, To: apps},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: pages.Handler(origin)},
		router.Rule{Name: "shop", To: pages.Handler(apps)},
	))
	return front, []edge.Runner{origin, apps, pages}
}

// A person is at a browser of her own.
type person struct {
	t *testing.T
	*http.Client
}

func (p person) sees(url string, status int, words string) *http.Response {
	p.t.Helper()
	res, err := p.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.Contains(string(body), words) {
		p.t.Errorf("%s: got %s %q, %v, want %d %q", url, res.Status, body, err, status, words)
	}
	return res
}

// A day of a whole front, in no time: sessions, probes, a limit, a purge, a drain.
func TestADayOfAFrontInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log edgetest.Log
		sessions := must(session.New(session.Memory(), session.Options{Idle: 2 * time.Hour}))
		t.Cleanup(func() { _ = sessions.Close() })
		var price atomic.Value // served by goroutines of the pools'
		var sick atomic.Bool
		price.Store("10 €")
		mux := http.NewServeMux()
		mux.HandleFunc("/product/42", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=3600") // for who has a cookie, too
			fmt.Fprint(w, price.Load())
		})
		mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { time.Sleep(25 * time.Second) }) // of the bubble's
		mux.HandleFunc("/broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		mux.HandleFunc("/login", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("/cart", func(w http.ResponseWriter, r *http.Request) {
			n, _, err := session.Value[int](session.From(r.Context()), "items")
			if err = errors.Join(err, session.From(r.Context()).Set("items", n+1)); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "%d items", n)
		})
		mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
			if sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		front, parts := newFront(t, sessions.Handler(mux))
		tier := edgetest.Serve(t, front, edge.Options{
			TLS: edgetest.TLS(t, "shop.example"), Logger: log.Logger(), Observers: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")},
		}, parts...)
		time.Sleep(time.Minute) // of the bubble's
		ann, bob, office := person{t, tier.Client("203.0.113.9")}, person{t, tier.Client("2001:db8::7")}, person{t, tier.Client("10.0.0.7")}

		ann.sees("https://shop.example/cart", 200, "0 items")
		time.Sleep(100 * time.Minute) // of the bubble's
		ann.sees("https://shop.example/cart", 200, "1 items")
		bob.sees("https://shop.example/cart", 200, "0 items")
		time.Sleep(121 * time.Minute) // the sessions' idle timeout is 2 h
		ann.sees("https://shop.example/cart", 200, "0 items")

		for range 2 {
			bob.sees("https://shop.example/login", 200, "")
		}
		bob.sees("https://shop.example/login", 429, "")
		ann.sees("https://shop.example/login", 200, "") // who has done nothing
		time.Sleep(10 * time.Second)                    // of the bubble's
		bob.sees("https://shop.example/login", 200, "")

		ann.sees("https://shop.example/product/42", 200, "10 €")
		price.Store("12 €")
		time.Sleep(59 * time.Minute) // of the bubble's
		bob.sees("https://shop.example/product/42", 200, "10 €")
		res := office.sees("https://shop.example/product/42", 200, "10 €")
		if shown := res.Header.Get("Server-Timing"); !strings.Contains(shown, `cache;desc="hit"`) {
			t.Errorf("the office is shown %q", shown)
		}
		time.Sleep(time.Hour) // of the bubble's
		ann.sees("https://shop.example/product/42", 200, "12 €")

		sick.Store(true)             // the probes find out, and the page is served on
		time.Sleep(61 * time.Minute) // of the bubble's
		routertest.Table(t, tier, routertest.Row{Target: "/broken", Secure: true, Status: 502})
		ann.sees("https://shop.example/product/42", 200, "12 €")
		if n := len(log.Lines("target=/broken", "status=502", "client=192.0.2.1")); n != 1 {
			t.Errorf("%d lines of what failed", n)
		}
		sick.Store(false)
		time.Sleep(2 * time.Minute) // of the bubble's

		began, ended := time.Now(), make(chan error, 1)
		go func() {
			time.Sleep(time.Second) // of the bubble's: the slow request is under way
			ended <- tier.Stop()
		}()
		ann.sees("https://shop.example/slow", 200, "")
		if err := <-ended; err != nil || time.Since(began) < 25*time.Second || time.Since(began) > 27*time.Second {
			t.Errorf("the drain took %s: %v", time.Since(began), err)
		}
	})
}
