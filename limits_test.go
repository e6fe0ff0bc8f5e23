package foretier_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestLimitsAroundACache: a rule's counts what is answered from the cache, one below the
// cache does not, and answers that are stored say nothing of what one client has left.
func TestLimitsAroundACache(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if strings.HasPrefix(r.URL.Path, "/own") {
			w.Header().Set("RateLimit", `"backend";r=7;t=1`)
		}
		fmt.Fprint(w, "page")
	}))
	defer backend.Close()
	pool := must(balancer.New(balancer.Backends(backend.URL), balancer.Options{}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	const daily = 1.0 / (24 * 60 * 60)
	misses := must(router.NewLimiter("misses", router.Limit{Rate: daily, Burst: 3}))
	front := must(router.New(router.Options{},
		router.Rule{Name: "above", When: router.Path("/above/*", "/own/*"), To: pages.Handler(pool), Limit: router.Limit{Rate: daily, Burst: 3}},
		router.Rule{Name: "below", To: pages.Handler(misses.Handler(pool))},
	))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Linger: -1, NoAccessLog: true}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	defer func() { stop(); <-done }()
	for i, c := range []struct {
		path, limits string
		status       int
	}{
		{"/above/a", `"above";r=2`, 200}, {"/above/a", `"above";r=1`, 200},
		{"/own/a", `"backend";r=7`, 200}, {"/above/a", `"above";r=0`, 429},
		{"/below/a", "", 200}, {"/below/a", "", 200}, {"/below/a", "", 200}, {"/below/a", "", 200}, {"/below/a", "", 200},
		{"/below/b", "", 200}, {"/below/c", "", 200}, {"/below/d", "", 429}, {"/below/d", "", 429}, {"/below/a", "", 200},
	} {
		res, err := http.Get(fmt.Sprintf("http://%s%s", srv.Addr(), c.path))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		lines := res.Header["Ratelimit"]
		if res.StatusCode != c.status || (c.limits == "") != (len(lines) == 0) ||
			c.limits != "" && !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, c.limits) }) {
			t.Errorf("request %d, %s: %d, RateLimit %q; want %d, %s", i, c.path, res.StatusCode, lines, c.status, c.limits)
		}
		if (res.Header.Get("Retry-After") != "") != (c.status == 429) {
			t.Errorf("request %d, %s: Retry-After %q", i, c.path, res.Header.Get("Retry-After"))
		}
	}
	if n := misses.Report().Metrics[0].Value; n != 5 {
		t.Errorf("the limit below the cache has judged %v requests, want 5", n)
	}
	d := fmt.Sprint(front.Explain(httptest.NewRequest("GET", "http://shop.example/below/d", nil)))
	if !strings.Contains(d, "limit misses") {
		t.Errorf("it is explained without its limit: %s", d)
	}
	if err := front.Prove(router.Only(pool).For(router.Path("/*"))); err != nil {
		t.Errorf("proof: %v", err)
	}
}
