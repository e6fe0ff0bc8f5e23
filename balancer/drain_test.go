package balancer

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// TestAllAskToBeDrained holds that what a probe asks for closes nobody's shop:
// a docroot from which the probed file is missing everywhere.
func TestAllAskToBeDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testkit.Log
		var leave atomic.Int32 // how many of the backends do
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Affinity: cookie{}, Logger: log.Logger(),
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				return health.Result{State: health.Up, Drain: int32(to.Name[0]-'a') < leave.Load()}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		leave.Store(2)
		time.Sleep(7 * time.Second)
		if res := get(p, "GET", "/", nil); res.Code != http.StatusOK {
			t.Errorf("new clients get %d", res.Code)
		}
		if told := log.String(); strings.Count(told, "only backends that ask to be drained are left") != 1 || !strings.Contains(told, "level=ERROR") {
			t.Errorf("the log says %s", told)
		}
		if r := p.Report(); r.State != health.Degraded || !strings.Contains(r.Why, "drained") {
			t.Errorf("the report says %v, %q", r.State, r.Why)
		}
		time.Sleep(15 * time.Minute)
		for range 5 {
			if got := get(p, "GET", "/", nil, header("Cookie", "at=b")).Body.String(); got != "b" {
				t.Errorf("a client that is bound gets %q", got)
			}
		}
		// An operator's word is another.
		if err := p.SetMode("a", Drain); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if got := get(p, "GET", "/", nil).Body.String(); got != "b" {
				t.Errorf("a new client gets %q", got)
			}
		}
		leave.Store(0)
		time.Sleep(7 * time.Second)
		if r := p.Report(); strings.Contains(r.Why, "drained") {
			t.Errorf("afterwards the report says %q", r.Why)
		}
		cancel()
		<-done
	})
}

func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{Affinity: cookie{}})
		if err := p.SetMode("a", Drain); err != nil {
			t.Fatal(err)
		}
		bound := func() string { return get(p, "GET", "/", nil, header("Cookie", "at=a")).Body.String() }
		if got := bound(); got != "a" {
			t.Errorf("at first a client that is bound gets %s", got)
		}
		time.Sleep(10 * time.Minute)
		if got := bound(); got != "b" {
			t.Errorf("after ten minutes it gets %s", got)
		}
	})
}

func TestABackendDrainsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leaves atomic.Bool
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Affinity: cookie{},
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				return health.Result{State: health.Up, Drain: to.Name == "a" && leaves.Load()}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		leaves.Store(true)
		time.Sleep(7 * time.Second)
		for range 20 {
			if got := get(p, "GET", "/", nil).Body.String(); got != "b" {
				t.Fatalf("a new client gets %s", got)
			}
		}
		if got := get(p, "GET", "/", nil, header("Cookie", "at=a")).Body.String(); got != "a" {
			t.Errorf("one that is bound gets %s", got)
		}
		leaves.Store(false)
		time.Sleep(7 * time.Second)
		if s := p.Backends()[0]; s.Mode != Ready {
			t.Errorf("it came back, and is set to %v", s.Mode)
		}
		cancel()
		<-done
	})
}
