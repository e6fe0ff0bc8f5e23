package foretier_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestABackendIsToldTheArm of each split on the way, with what is stored and what is not,
// by the tier alone; and so is the log.
func TestABackendIsToldTheArm(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-Told", fmt.Sprintf("%q", r.Header["Foretier-Split"]))
	}))
	defer app.Close()
	pool := must(balancer.New(balancer.Backends(app.URL), balancer.Options{}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	to := pages.Handler(pool)
	inner := must(router.NewSplit("look", router.Arm{Name: "old", Weight: 1, To: to}, router.Arm{Name: "new", To: to}))
	outer := must(router.NewSplit("canary", router.Arm{Name: "a", Weight: 1, To: inner}, router.Arm{Name: "b", To: inner}))
	front := must(router.New(router.Options{},
		router.Rule{Name: "split", When: router.Path("/split"), To: outer},
		router.Rule{Name: "rest", To: to}))
	log := new(testkit.Log)
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Linger: -1, Logger: log.Logger()}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	defer func() { stop(); <-done }()
	bare := httptest.NewServer(front)
	defer bare.Close()
	for _, at := range []string{"http://" + srv.Addr().String(), bare.URL} {
		for _, c := range []struct{ path, cookie, want string }{
			{"/rest", "canary=b", "[]"},
			{"/split", "canary=b; look=new", `["canary=b, look=new"]`},
			{"/split", "canary=b; look=new", `["canary=b, look=new"]`},
			{"/split", "look=new", `["canary=a, look=new"]`},
			{"/split", "", `["canary=a, look=old"]`},
		} {
			r := must(http.NewRequest("GET", at+c.path, nil))
			r.Header.Set("Cookie", c.cookie)
			r.Header.Set("Foretier-Split", "canary=b, x=y")
			res := must(http.DefaultClient.Do(r))
			res.Body.Close()
			if got := res.Header["X-Told"]; !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s with %q: told %v, want %s", c.path, c.cookie, got, c.want)
			}
		}
	}
	log.Wants(t, `split="canary=b"`, `split="look=new"`)
}
