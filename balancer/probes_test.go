package balancer

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// Seen in traefik #9297.
func TestOneFailedProbeRemovesNobody(t *testing.T) {
	if got, want := (health.Schedule{}).WithDefaults().Fall, 3; got != want {
		t.Errorf("Fall is %d", got)
	}
	tr := tracker.New(health.Schedule{}, health.Outlier{}, true)
	now := time.Unix(1, 0)
	tr.Probed(now, health.Result{State: health.Up}, nil)
	for range 10 {
		tr.Probed(now, health.Result{State: health.Degraded}, nil)
		tr.Probed(now, health.Result{State: health.Degraded}, nil)
		tr.Probed(now, health.Result{State: health.Up}, nil)
	}
	if s := tr.Health(now).State; s != health.Up {
		t.Errorf("two bad probes in a row made it %v", s)
	}
}

// Seen in caddy #6410.
func TestWhoHasNotPassedItsFirstProbeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(servedBy("a"), servedBy("b"), servedBy("c")), Options{
			Probe: health.ProbeFunc(func(ctx context.Context, to health.Target) (health.Result, error) {
				if to.Name == "c" { // takes its time to start
					<-ctx.Done()
					return health.Result{}, ctx.Err()
				}
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		if err := p.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 30 {
			if got := get(p, "GET", "/", nil).Body.String(); got == "c" {
				t.Fatal("one that has not answered its first probe gets requests beside others that have")
			}
		}
		cancel()
		<-done
	})
}

// Sequential loops in Traefik and Pingora.
func TestOneThatHangsDelaysNobodysProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Probe: health.ProbeFunc(func(ctx context.Context, to health.Target) (health.Result, error) {
				if to.Name == "a" {
					<-ctx.Done()
					return health.Result{}, ctx.Err()
				}
				probes.Add(1)
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Minute)
		if n := probes.Load(); n < 10 {
			t.Errorf("%d probes in a minute, want one about every five seconds", n)
		}
		cancel()
		<-done
	})
}
