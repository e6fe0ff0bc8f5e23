package balancer

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// Seen in caddy #5454, traefik #1008.
func TestADialErrorLeavesTheBodyToTheNext(t *testing.T) {
	var got atomic.Value
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close() // as a transport does that cannot connect
		return refused(r)
	}), inprocess.Transport{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.Store(string(b))
	})})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 200 || got.Load() != "order" {
		t.Errorf("got %d, the second backend %v", w.Code, got.Load())
	}
}

// Seen in golang/go #65123. See also TestASlowBodyDoesNotHoldUpItsRepeat.
func TestEachAttemptHasARequestOfItsOwn(t *testing.T) {
	var first *http.Request
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		first = r
		return refused(r)
	}), roundTrip(func(r *http.Request) (*http.Response, error) {
		if r == first || r.URL == first.URL {
			t.Error("the second attempt uses the request of the first")
		}
		return status(200).RoundTrip(r)
	}))
	get(newPool(t, backends, Options{Transport: way, Policy: RoundRobin()}), "GET", "/", nil)
}

// Seen in traefik #1007, caddy #4245.
func TestARetryGoesElsewhere(t *testing.T) {
	for range 50 {
		var tried [2]int
		backends, way := ways(
			roundTrip(func(r *http.Request) (*http.Response, error) { tried[0]++; return refused(r) }),
			roundTrip(func(r *http.Request) (*http.Response, error) { tried[1]++; return refused(r) }))
		get(newPool(t, backends, Options{Transport: way}), "GET", "/", nil)
		if tried != [2]int{1, 1} {
			t.Fatalf("tried %v", tried)
		}
	}
}

// Seen in traefik #1104.
func TestAnOrderIsNotExecutedTwice(t *testing.T) {
	var orders atomic.Int32
	execute := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		orders.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close() // and the answer is lost
		}
	})
	a, b := httptest.NewServer(execute), httptest.NewServer(execute)
	defer a.Close()
	defer b.Close()
	p := newPool(t, Backends(a.URL, b.URL), Options{})
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 502 || orders.Load() != 1 {
		t.Errorf("got %d, executed %d times", w.Code, orders.Load())
	}
}

// Seen in traefik #3237, golang/go #22158. See also package http1.
func TestAStaleConnectionIsNo502(t *testing.T) {
	// It closes each connection after one answer, and does not say so.
	url, _ := testkit.HTTPBackend(t, testkit.Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	p := newPool(t, Backends(url), Options{Retries: Retries{Max: -1}})
	for i := range 200 {
		if w := get(p, "GET", "/", nil); w.Code != 200 {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
}

// Seen in caddy #7396. See TestClientGoneIsNobodysFault for the rest.
func TestNothingIsRetriedForAClientThatLeft(t *testing.T) {
	var asked atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan bool)
	defer close(release)
	h := func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		cancel()
		<-release
	}
	p := newPool(t, here(h, h), Options{})
	w := get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if w.Code != 499 || asked.Load() != 1 {
		t.Errorf("got %d, asked %d times", w.Code, asked.Load())
	}
}

// TestOneThatRefusedIsTriedWhenAllOthersDo: of a quick restart of both, one after
// the other, nothing is lost.
func TestOneThatRefusedIsTriedWhenAllOthersDo(t *testing.T) {
	var downA, downB atomic.Bool
	way := func(down *atomic.Bool, name string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return refused.RoundTrip(r)
			}
			return inprocess.Transport{Handler: servedBy(name)}.RoundTrip(r)
		})
	}
	backends, transport := ways(way(&downA, "a"), way(&downB, "b"))
	p := newPool(t, backends, Options{Transport: transport, Policy: RoundRobin()})
	downA.Store(true)
	for range 10 {
		if w := get(p, "POST", "/", nil); w.Body.String() != "b" {
			t.Fatalf("while a is down: %d %s", w.Code, w.Body)
		}
	}
	if s := p.Backends()[0]; s.State != health.Down {
		t.Fatalf("a is %v", s.State)
	}
	downA.Store(false)
	downB.Store(true)
	if w := get(p, "POST", "/", nil); w.Body.String() != "a" {
		t.Errorf("a is back and b down: %d %s", w.Code, w.Body)
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
