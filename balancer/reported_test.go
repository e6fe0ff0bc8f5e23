package balancer

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

func TestABackendTellsItsWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once atomic.Bool
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Policy: RoundRobin(),
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				if to.Name == "a" && !once.Swap(true) {
					return health.Result{State: health.Up, Weight: 0.25}, nil
				}
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		of := func() (a int) {
			for range 100 {
				if get(p, "GET", "/", nil).Body.String() == "a" {
					a++
				}
			}
			return a
		}
		if n := of(); n != 20 {
			t.Errorf("a quarter of its weight brought it %d of 100, want 20", n)
		}
		time.Sleep(3*time.Minute + time.Second)
		if n := of(); n != 50 {
			t.Errorf("three minutes later, %d of 100, want 50", n)
		}
		cancel()
		<-done
	})
}

func TestRetryAfterAsksForPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		a := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if busy.Load() {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		backends, way := ways(inprocess.Transport{Handler: a}, inprocess.Transport{Handler: servedBy("b")})
		p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin(), Outlier: health.Outlier{MinSuccess: -1}})
		tried := func() uint64 {
			before := p.Backends()[0].Requests
			for range 110 {
				get(p, "GET", "/", nil)
			}
			return p.Backends()[0].Requests - before
		}
		if n := tried(); n < 8 || n > 12 {
			t.Errorf("while it asks for patience it gets %d of 110, want a tenth of its share", n)
		}
		if s := p.Backends()[0]; s.State > health.Up {
			t.Errorf("it is taken out for saying that it is busy: %v", s.State)
		}
		busy.Store(false)
		time.Sleep(8 * time.Second)
		if n := tried(); n != 55 {
			t.Errorf("afterwards %d of 110", n)
		}
	})
	for text, want := range map[string]time.Duration{"": 1, "0": 1, "7": 7, "3600": 30, "Fri, 31 Dec 1999 23:59:59 GMT": 1} {
		if got := asked(text); got != want*time.Second {
			t.Errorf("Retry-After %q: %v", text, got)
		}
	}
}

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

// TestWeightOfNone has one backend ask for nothing, or for what cannot be
// understood, and the others not.
func TestWeightOfNone(t *testing.T) {
	for name, says := range map[string]health.Result{
		"none": {State: health.Up, LastResort: true}, "negative": {State: health.Up, Weight: -1}, "no number": {State: health.Up, Weight: math.NaN()},
	} {
		synctest.Test(t, func(t *testing.T) {
			var all atomic.Bool
			p := newPool(t, here(servedBy("a"), servedBy("b"), servedBy("c")), Options{
				Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
					if to.Name != "c" || all.Load() {
						return says, nil
					}
					return health.Result{State: health.Up}, nil
				}),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			synctest.Wait()
			for range 50 {
				if got := get(p, "GET", "/", nil).Body.String(); got != "c" {
					t.Fatalf("%s: %s is used", name, got)
				}
			}
			all.Store(true)
			time.Sleep(7 * time.Second)
			if res := get(p, "GET", "/", nil); res.Code != http.StatusOK || !p.Healthy(nil) {
				t.Errorf("%s, all of them: %d", name, res.Code)
			}
			cancel()
			<-done
		})
	}
}

// TestLastResortAfterTheBackups holds that who asks to be used last comes after
// a backup too.
func TestLastResortAfterTheBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backends := here(servedBy("a"), servedBy("b"))
		backends[1].Tier = 1
		p := newPool(t, backends, Options{
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				return health.Result{State: health.Up, LastResort: to.Name == "a"}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		if got := get(p, "GET", "/", nil).Body.String(); got != "b" {
			t.Errorf("%s is used", got)
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
