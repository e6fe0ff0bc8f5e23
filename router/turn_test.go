package router

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

// asked is a request of the nth client.
func asked(n int) *http.Request {
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.RemoteAddr = fmt.Sprintf("198.51.100.%d:9999", n)
	return r
}

// A counted rule holds requests until they are let go.
type counted struct {
	t       *testing.T
	rt      *Router
	limiter *limiter
	in      chan transit.Turn
	end     chan struct{}
	codes   chan int
}

func newCounted(t *testing.T, rule Rule) *counted {
	c := &counted{t: t, in: make(chan transit.Turn), end: make(chan struct{}), codes: make(chan int)}
	rule.Name = "r"
	rule.To = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.in <- transit.From(r.Context()).Turn
		<-c.end
	})
	rt, err := New(Options{}, rule)
	if err != nil {
		t.Fatal(err)
	}
	c.rt, c.limiter = rt, (*rt.rules.Load())[0].limiter
	return c
}

// ask returns the turn of one more request, or nil if it was turned away.
func (c *counted) ask(client int) transit.Turn {
	c.t.Helper()
	allowed := c.limiter.allows(asked(client), time.Time{}).ok
	go func() {
		w := httptest.NewRecorder()
		c.rt.ServeHTTP(w, asked(client))
		c.codes <- w.Code
	}()
	select {
	case turn := <-c.in:
		if !allowed {
			c.t.Error("Explain would have said 429")
		}
		return turn
	case code := <-c.codes:
		if code != http.StatusTooManyRequests || allowed {
			c.t.Errorf("got %d, allowed: %v", code, allowed)
		}
		return nil
	}
}

// done lets n requests go, and fails the test if anything is still counted.
func (c *counted) done(n int) {
	c.t.Helper()
	close(c.end)
	for range n {
		if code := <-c.codes; code != 200 {
			c.t.Errorf("got %d", code)
		}
	}
	p := c.limiter.places
	if a, b, d, e := p.held.all.Load(), p.held.by.Sum(), p.early.all.Load(), p.early.by.Sum(); a != 0 || b != 0 || d != 0 || e != 0 {
		c.t.Errorf("afterwards %d places are held, %d by clients, %d early, %d by clients", a, b, d, e)
	}
}

// TestOneClientLeavesPlacesOfARule to others.
func TestOneClientLeavesPlacesOfARule(t *testing.T) {
	for limit, want := range map[int]int{1: 1, 7: 7, 8: 7, 40: 35} {
		c := newCounted(t, Rule{Limit: Limit{InFlight: limit}})
		got := 0
		for range 2 * limit {
			if c.ask(1) != nil {
				got++
			}
		}
		if got != want {
			t.Errorf("one client has %d of %d places, want %d", got, limit, want)
		}
		if c.ask(2) != nil {
			got++
		}
		if got != min(want+1, limit) {
			t.Errorf("another client gets none of %d places", limit)
		}
		c.done(got)
	}
}

// TestABodyThatComesHoldsNoPlaceOfARule: while a stage below waits for it the
// place is free, and afterwards it is had if there is one.
func TestABodyThatComesHoldsNoPlaceOfARule(t *testing.T) {
	c := newCounted(t, Rule{Limit: Limit{InFlight: 2}})
	var waiting []transit.Turn
	for range 20 {
		turn := c.ask(1)
		if turn == nil {
			t.Fatal("an upload holds a place")
		}
		turn.Pause()
		turn.Pause() // by a second pool
		waiting = append(waiting, turn)
	}
	for _, i := range []int{0, 0, 1} { // twice alike, as by two pools
		if !waiting[i].Resume(false) {
			t.Error("a body is there, and the request gets no place")
		}
	}
	if c.ask(2) != nil || waiting[2].Resume(false) {
		t.Error("a third has a place of two")
	}
	if got := c.limiter.limited.Load(); got != 2 {
		t.Errorf("%d counted as limited, want 2", got)
	}
	waiting[0].Pause()
	if !waiting[2].Resume(false) {
		t.Error("what came free is not had")
	}
	c.done(20)
	if !waiting[3].Resume(false) || c.limiter.places.held.all.Load() != 0 {
		t.Error("a turn that is over counts")
	}
}

// TestFewBodiesGoOnBeforeTheyAreThere: a quarter of a rule's places, half of that
// of each client.
func TestFewBodiesGoOnBeforeTheyAreThere(t *testing.T) {
	for _, want := range []struct{ limit, each, all int }{{1, 0, 0}, {2, 1, 1}, {8, 1, 2}, {40, 5, 10}} {
		c := newCounted(t, Rule{Limit: Limit{InFlight: want.limit}})
		asked := 0
		early := func(client int) (n int, held []transit.Turn) {
			for range want.limit {
				turn := c.ask(client)
				if turn == nil {
					continue
				}
				asked++
				if turn.Pause(); turn.Resume(true) {
					n++
					held = append(held, turn)
				}
			}
			return n, held
		}
		one, held := early(1)
		two, _ := early(2)
		three, _ := early(3)
		if one != want.each || one+two+three != want.all {
			t.Errorf("of %d: %d, %d and %d early, want %d each and %d in all", want.limit, one, two, three, want.each, want.all)
		}
		if got := c.limiter.limited.Load(); got != 0 {
			t.Errorf("%d counted as limited, who go on waiting for their bodies", got)
		}
		if len(held) > 0 { // when it is there it counts as any other
			held[0].Whole()
			if n, _ := early(1); n != 1 {
				t.Errorf("of %d: %d early once one is whole, want 1", want.limit, n)
			}
		}
		c.done(asked)
	}
}

// TestTurnsOfARouterInARouter are both given up, and both had again or none.
func TestTurnsOfARouterInARouter(t *testing.T) {
	inner := newCounted(t, Rule{Limit: Limit{InFlight: 2}})
	rt, err := New(Options{}, Rule{Name: "outer", To: inner.rt, Limit: Limit{InFlight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	outer := (*rt.rules.Load())[0].limiter.places
	inner.rt = rt
	a := inner.ask(1)
	a.Pause()
	b := inner.ask(2)
	if b == nil {
		t.Fatal("the outer rule's place is held")
	}
	if a.Resume(false) || inner.limiter.places.held.all.Load() != 1 {
		t.Error("the outer rule has two places of one, or the inner's is kept")
	}
	b.Pause()
	if !a.Resume(false) || outer.held.all.Load() != 1 || b.Resume(false) || b.Resume(true) {
		t.Error("the only place is not one's")
	}
	inner.done(2)
	if outer.held.all.Load() != 0 {
		t.Error("the outer rule's place is kept")
	}
}

// TestAStreamInARouterInARouter holds no place of either, but of a rule that limits
// streams.
func TestAStreamInARouterInARouter(t *testing.T) {
	for streams, want := range map[bool]int64{false: 0, true: 1} {
		inner := newCounted(t, Rule{Limit: Limit{InFlight: 2}, Streams: streams})
		rt, err := New(Options{}, Rule{Name: "outer", To: inner.rt, Limit: Limit{InFlight: 1}})
		if err != nil {
			t.Fatal(err)
		}
		outer := (*rt.rules.Load())[0].limiter.places
		inner.rt = rt
		a := inner.ask(1)
		a.Stream()
		a.Stream()
		if o, i := outer.held.all.Load(), inner.limiter.places.held.all.Load(); o != 0 || i != want {
			t.Errorf("inner rule of streams %t: the outer's places held: %d, the inner's: %d, want 0, %d", streams, o, i, want)
		}
		if a.Pause(); !a.Resume(false) || outer.held.all.Load() != 0 {
			t.Errorf("inner rule of streams %t: a stream is counted again", streams)
		}
		inner.done(1)
	}
}

// TestACopyHoldsNoPlace of its request's, so that it has none to give up.
func TestACopyHoldsNoPlace(t *testing.T) {
	streamed := make(chan struct{})
	m := NewMirror(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		transit.From(r.Context()).Streaming()
		close(streamed)
	}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	testkit.Within(t, testkit.Patience, "the mirror runs", m.running.Load)
	c := newCounted(t, Rule{Limit: Limit{InFlight: 2}, Use: []func(http.Handler) http.Handler{m.Handler}})
	c.ask(1)
	<-streamed
	if n := c.limiter.places.held.all.Load(); n != 1 {
		t.Errorf("%d places are held by the request, whose copy is answered with a stream", n)
	}
	c.done(1)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r, rec, _ := transit.Enter(asked(1))
	rec.Storable = func(int, http.Header) bool { return true }
	m.enqueue(r)
	if transit.From((<-m.queue).Context()).Storable != nil {
		t.Error("the fetch of the request is asked about the copy")
	}
}

// TestAPanicHoldsNoPlace: a matcher of another rule may be asked about a reading of
// the path once the request has its place.
func TestAPanicHoldsNoPlace(t *testing.T) {
	bug := Test("bug", func(*http.Request) bool { panic("a bug") })
	rt, err := New(Options{},
		Rule{Name: "p", When: All(Path("/p/*"), bug), To: http.NotFoundHandler()},
		Rule{Name: "r", To: http.NotFoundHandler(), Limit: Limit{InFlight: 2}})
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it is not asked")
			}
		}()
		rt.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/p/../x", nil))
	}()
	if n := (*rt.rules.Load())[1].limiter.places.held.all.Load(); n != 0 {
		t.Errorf("%d places are held", n)
	}
}
