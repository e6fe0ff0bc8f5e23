package balancer

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
)

// nginx' "no live upstreams".
func TestHalfOfAPoolStays(t *testing.T) {
	backends, way := ways(status(503), status(503), status(503), status(503))
	p := newPool(t, backends, Options{Transport: way})
	for i := range 200 {
		if w := get(p, "GET", fmt.Sprint("/", i%7), nil, from(i)); w.Code != 503 || w.Header().Get("X-Content-Type-Options") != "" {
			t.Fatalf("answered by the tier itself: %d %v", w.Code, w.Header())
		}
	}
	out := 0
	for _, s := range p.Backends() {
		if s.State == health.Degraded {
			out++
		}
	}
	if out != 2 {
		t.Errorf("%d of 4 are out, want half", out)
	}
}

// Seen in envoy #28304.
func TestTheDeadGetNothingWhenFewAreLeft(t *testing.T) {
	var dead atomic.Int32
	refuses := roundTrip(func(r *http.Request) (*http.Response, error) { dead.Add(1); return refused(r) })
	backends, way := ways(refuses, refuses, refuses, inprocess.Transport{Handler: servedBy("d")})
	p := newPool(t, backends, Options{Transport: way})
	for range 20 {
		get(p, "GET", "/", nil)
	}
	before := dead.Load()
	for range 100 {
		if w := get(p, "GET", "/", nil); w.Code != 200 {
			t.Fatalf("got %d", w.Code)
		}
	}
	if n := dead.Load() - before; n != 0 {
		t.Errorf("with one of four left, %d requests were tried at those that refuse", n)
	}
}
