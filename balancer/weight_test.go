package balancer

import (
	"context"
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
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
