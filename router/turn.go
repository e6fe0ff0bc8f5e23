package router

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// A tally counts what is held of something, in all and by each client.
type tally struct {
	all atomic.Int64
	by  fair.Table
}

// add counts n more and returns what is held then. Of nobody knows whom nothing
// is counted but in all.
func (t *tally) add(client fair.Key, n int32) (all, own int) {
	if c := t.by.Count(client); c != nil {
		own = int(c.Add(n))
	}
	return int(t.all.Add(int64(n))), own
}

// places are those of a rule with Limit.InFlight.
type places struct {
	limit int
	held  tally
	early tally // of these, by requests whose bodies are still coming
}

// take takes a place for a client, unless all are taken or the client has its
// share of them: seven times what is free.
func (p *places) take(client fair.Key) bool {
	all, own := p.held.add(client, 1)
	if all > p.limit || fair.Over(own-1, p.limit-all+1) {
		p.held.add(client, -1)
		return false
	}
	return true
}

func (p *places) give(client fair.Key) { p.held.add(client, -1) }

// free tells what take would answer.
func (p *places) free(client fair.Key) bool {
	left := p.limit - int(p.held.all.Load())
	return left > 0 && !fair.Over(p.held.by.Held(client), left)
}

// takeEarly takes a place for a request whose body is still coming. Such may
// have a quarter of all, and of these each client half.
func (p *places) takeEarly(client fair.Key) bool {
	if p.limit == 1 {
		return false
	}
	most := max(p.limit/4, 1)
	all, own := p.early.add(client, 1)
	if all > most || own > max(most/2, 1) || !p.take(client) {
		p.early.add(client, -1)
		return false
	}
	return true
}

func (p *places) giveEarly(client fair.Key) { p.early.add(client, -1) }

// A turn is one request's place of a rule's. It implements [transit.Turn].
type turn struct {
	places  *places
	client  fair.Key
	outer   transit.Turn   // of a router around this one; may be nil
	streams bool           // what its rule limits is streams
	lim     *atomic.Uint64 // counts those that are turned away

	mu    sync.Mutex
	holds bool // guarded by mu
	early bool // guarded by mu
	over  bool // guarded by mu: the rule has served the request, or counts it no more
}

// enter takes a place for a request, or returns nil if there is none.
func (p *places) enter(client netip.Addr, lim *atomic.Uint64) *turn {
	t := &turn{places: p, client: fair.Of(client), lim: lim, holds: true}
	if !p.take(t.client) {
		return nil
	}
	return t
}

// counts shows the turn to the stages below, until the function that it returns ends it.
// streams says that what is limited is streams.
func (t *turn) counts(rec *transit.Record, streams bool) (end func()) {
	t.outer, rec.Turn = rec.Turn, t
	t.streams = streams
	return func() {
		rec.Turn = t.outer
		t.leave()
	}
}

// Pause implements [transit.Turn].
func (t *turn) Pause() {
	t.mu.Lock()
	t.giveLocked()
	t.mu.Unlock()
	if t.outer != nil {
		t.outer.Pause()
	}
}

// Resume implements [transit.Turn].
func (t *turn) Resume(early bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outer != nil && !t.outer.Resume(early) {
		return false
	}
	if t.over || t.holds {
		return true
	}
	if early {
		t.holds = t.places.takeEarly(t.client)
		t.early = t.holds
	} else if t.holds = t.places.take(t.client); !t.holds {
		t.lim.Add(1)
	}
	if !t.holds && t.outer != nil {
		t.outer.Pause()
	}
	return t.holds
}

// Whole implements [transit.Turn].
func (t *turn) Whole() {
	t.mu.Lock()
	t.wholeLocked()
	t.mu.Unlock()
	if t.outer != nil {
		t.outer.Whole()
	}
}

// Stream implements [transit.Turn].
func (t *turn) Stream() {
	if !t.streams {
		t.leave()
	}
	if t.outer != nil {
		t.outer.Stream()
	}
}

// leave gives the place back for good. It may be called more than once.
func (t *turn) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveLocked()
	t.over = true
}

func (t *turn) giveLocked() {
	t.wholeLocked()
	if t.holds {
		t.places.give(t.client)
	}
	t.holds = false
}

func (t *turn) wholeLocked() {
	if t.early {
		t.places.giveEarly(t.client)
	}
	t.early = false
}
