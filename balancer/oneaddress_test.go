package balancer

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
)

// TestVisitorsOfOneAddress, as behind a NAT or a CDN that is not trusted, prove nothing of
// a server together: a broken one stays in use until its probe fails, which takes no longer
// than docs/running.md says.
func TestVisitorsOfOneAddress(t *testing.T) {
	for name, c := range map[string]struct {
		probe health.Probe // of what is broken
		out   time.Duration
	}{
		"without a probe": {nil, 0},
		"a probe that fails": {health.ProbeFunc(func(context.Context, health.Target) (health.Result, error) {
			return health.Result{State: health.Down, Note: "500"}, nil
		}), 9 * time.Second},
		"a probe that gets no answer": {health.ProbeFunc(func(ctx context.Context, _ health.Target) (health.Result, error) {
			<-ctx.Done()
			return health.Result{}, ctx.Err()
		}), 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				opts := Options{}
				if c.probe != nil {
					opts.Probe = health.ProbeFunc(func(ctx context.Context, to health.Target) (health.Result, error) {
						if to.Name == "a" && broken.Load() {
							return c.probe.Probe(ctx, to)
						}
						return health.Result{State: health.Up}, nil
					})
				}
				p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
					if broken.Load() {
						w.WriteHeader(http.StatusBadGateway)
					}
				}, servedBy("b"), servedBy("c")), opts)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- p.Run(ctx) }()
				defer func() { cancel(); <-done }()
				time.Sleep(time.Minute) // in the bubble
				broken.Store(true)
				began := time.Now()
				isOut := func() bool { return p.Backends()[0].State == health.Down }
				for i := 0; !isOut() && time.Since(began) < time.Minute; i++ {
					get(p, "GET", fmt.Sprint("/", i), nil) // which is repeated elsewhere
					time.Sleep(100 * time.Millisecond)     // in the bubble
				}
				if took := time.Since(began); isOut() != (c.out > 0) || isOut() && took > c.out {
					t.Errorf("out %t after %v, want after %v at most", isOut(), took, c.out)
				}
			})
		})
	}
}
