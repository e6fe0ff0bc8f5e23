package tcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// A world is some database servers and a pool that hears of them only by
// probes, late and in any order.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Time
	servers []*dbServer
	primary int // whom the operator means to be it
	reign   int // how many have been it

	memory  string
	started bool // probes tell when servers began
	lies    bool
	pool    *Pool
	writes  *Excerpt
	newest  int // the latest reign that a write of this pool's went to
	held    []*heldLink
	story   []string
}

type dbServer struct {
	name    string
	up, rw  bool
	began   time.Time
	reign   int            // up to which it has all writes
	known   bool           // the pool has seen it as primary, or claim to be
	pending *probeUnderWay // nil: none
}

type probeUnderWay struct {
	asked time.Time
	res   health.Result
	err   error
}

// A heldLink is a client's connection to the primary.
type heldLink struct {
	name string
	link *link
	cut  bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 4)), now: time.Unix(1e9, 0)}
	w.started, w.lies = w.rng.IntN(2) == 0, w.rng.IntN(5) == 0
	if w.rng.IntN(2) == 0 {
		w.memory = filepath.Join(t.TempDir(), fmt.Sprint("primary", seed))
	}
	for i := range 2 + w.rng.IntN(2) {
		w.servers = append(w.servers, &dbServer{name: string(rune('a' + i)), up: true, rw: i == 0, began: w.now})
	}
	w.begin()
	return w
}

// begin starts the process that has the pool.
func (w *world) begin() {
	var list []Backend
	for i, s := range w.servers {
		list = append(list, Backend{Name: s.name, URL: fmt.Sprintf("tcp://192.0.2.%d:3306", i+1)})
		s.pending = nil
	}
	w.pool = newPool(w.t, list, Options{Memory: w.memory})
	w.writes = w.pool.Only("writes", Primary)
	w.held = nil
}

func (w *world) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter: %s\nthrone: %+v", fmt.Sprintf(format, args...), strings.Join(w.story, ", "), w.pool.roles.throne)
}

// step lets one thing happen.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(1+w.rng.IntN(3000)) * time.Millisecond)
	i := w.rng.IntN(len(w.servers))
	s := w.servers[i]
	switch n := w.rng.IntN(100); {
	case n < 60:
		w.probe(s)
	case n < 66 && !s.up:
		w.say("%s refuses", s.name)
		w.pool.roles.missed(w.entry(s), w.now)
	case n < 72:
		w.crash(s)
	case n < 80 && !s.up && (s.rw || w.rng.IntN(3) > 0):
		// One that was primary comes back as such, unless somebody takes care.
		s.up, s.began = true, w.now
		w.say("%s starts, rw %t", s.name, s.rw)
	case n < 84 && i != w.primary && s.rw && !(s.up && w.rng.IntN(2) == 0):
		w.follow(s)
	case n < 92:
		w.promote(i)
	case n < 94:
		w.mistake(i)
	case n < 96:
		w.say("the process starts anew")
		w.pool.Close()
		if w.memory == "" {
			w.newest = 0
			for _, s := range w.servers {
				s.known = false
			}
		}
		w.begin()
	case n < 98:
		w.decide()
	}
	w.check()
}

func (w *world) entry(s *dbServer) *pool.Entry { return w.pool.view.Snap.Load().ByName(s.name) }

// probe begins a probe of s, or brings the answer to that which was begun.
func (w *world) probe(s *dbServer) {
	if p := s.pending; p != nil {
		s.pending = nil
		w.say("%s said %s %v", s.name, p.res.Role, p.err)
		if w.pool.roles.Probed(w.entry(s), p.asked, w.now, p.res, p.err) {
			w.pool.set.Refresh(w.now)
		}
		return
	}
	p := &probeUnderWay{asked: w.now}
	p.res.Role = health.RoleReplica
	if s.rw {
		p.res.Role = health.RolePrimary
	}
	if w.started {
		p.res.Started = s.began
	}
	switch n := w.rng.IntN(30); {
	case !s.up:
		p.res, p.err = health.Result{}, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case n == 0:
		p.res, p.err = health.Result{}, context.DeadlineExceeded
	case n == 1:
		p.res.Role = "" // it loads its data
	case w.lies && n < 6:
		p.res.Role = [...]string{health.RolePrimary, health.RoleReplica, health.RolePeer, "king", ""}[w.rng.IntN(5)]
		p.res.Epoch = uint64(w.rng.IntN(3))
		p.res.Started = w.now.Add(-time.Duration(w.rng.IntN(1e10)))
	}
	s.pending = p
	if w.rng.IntN(2) == 0 {
		w.probe(s)
	}
}

func (w *world) crash(s *dbServer) {
	s.up = false
	w.say("%s crashes", s.name)
}

// follow makes s a replica of the primary, with all its writes.
func (w *world) follow(s *dbServer) {
	if p := w.servers[w.primary]; p.up && p.rw {
		s.up, s.rw, s.began, s.reign = true, false, w.now, p.reign
		w.say("%s follows", s.name)
	}
}

// promote does what an operator does: the old primary is down, or made a
// replica first, and the new one has all writes.
func (w *world) promote(i int) {
	old, s := w.servers[w.primary], w.servers[i]
	if i == w.primary || !s.up || s.rw || s.reign != old.reign {
		return
	}
	if old.up {
		old.rw = false
	}
	w.reign++
	w.primary, s.rw, s.reign = i, true, w.reign
	for _, o := range w.servers {
		if o.up && !o.rw {
			o.reign = w.reign // it follows the new one
		}
	}
	w.say("%s is promoted", s.name)
}

// mistake lets a replica take writes beside the primary, while the pool sees
// both.
func (w *world) mistake(i int) {
	p, s := w.servers[w.primary], w.servers[i]
	if i == w.primary || w.lies || !s.up || s.rw || !p.up || !p.rw || w.pool.roles.throne.Primary != p.name || !w.pool.roles.throne.Seated {
		return
	}
	s.rw, s.reign, s.known = true, -1, true
	w.say("%s takes writes by mistake", s.name)
	for _, o := range []*dbServer{s, p} {
		o.pending = nil
		w.now = w.now.Add(time.Millisecond)
		res := health.Result{Role: health.RolePrimary}
		if w.started {
			res.Started = o.began
		}
		w.pool.roles.Probed(w.entry(o), w.now, w.now, res, nil)
	}
	w.pool.set.Refresh(w.now)
}

// decide is the operator telling the pool.
func (w *world) decide() {
	s := w.servers[w.primary]
	if err := w.pool.SetPrimary(s.name); err == nil && s.up && s.rw {
		w.say("%s is set", s.name)
	} else if err == nil {
		// It was told by what it knew, which is old: the next probe sees.
		w.say("%s is set, and is not there", s.name)
	}
}

// check holds what must hold at any time, and writes.
func (w *world) check() {
	use := w.writes.view.Snap.Load().Use
	if len(use) > 1 {
		w.fail("%d backends may be written to", len(use))
	}
	reached := make(map[string]bool)
	for _, h := range w.held {
		if !h.cut {
			reached[h.name] = true
		}
	}
	for _, e := range use {
		reached[e.Name] = true
		if rankOf(e).Barred != "" || w.pool.roles.throne.Fenced[e.Name] != "" {
			w.fail("%s is used, though %s", e.Name, rankOf(e).Barred)
		}
		l := &link{of: w.writes.carrier, entry: e}
		h := &heldLink{name: e.Name, link: l}
		l.onCut(func(error) { h.cut = true })
		w.writes.add(l)
		w.held = append(w.held, h)
	}
	if len(reached) > 1 {
		w.fail("clients reach %v", reached)
	}
	w.held = slices.DeleteFunc(w.held, func(h *heldLink) bool { return h.cut })
	for _, s := range w.servers {
		if !reached[s.name] || !s.up || !s.rw || w.lies {
			continue
		}
		// Of one that the pool has never heard of before it can't know whether
		// it was promoted or is back from an earlier time.
		if s.reign < w.newest && s.known {
			w.fail("a write goes to %s, which has missed those since reign %d", s.name, w.newest)
		}
		w.newest, s.known = s.reign, true
	}
}

// settle has everybody brought up and asked until nothing changes: then the
// operator's primary must be in use, or a person be needed for a reason.
func (w *world) settle() {
	for i, s := range w.servers {
		if i == w.primary {
			s.up, s.rw = true, true
		} else {
			s.up, s.rw, s.reign = true, false, w.servers[w.primary].reign
		}
	}
	w.say("all is well")
	for range 6 {
		for _, s := range w.servers {
			s.pending = nil
			w.now = w.now.Add(time.Second)
			res := health.Result{Role: health.RoleReplica}
			if s.rw {
				res.Role = health.RolePrimary
			}
			if w.started {
				res.Started = s.began
			}
			w.pool.roles.Probed(w.entry(s), w.now, w.now, res, nil)
			w.pool.set.Refresh(w.now)
			w.check()
		}
	}
	throne := w.pool.roles.throne
	name := w.servers[w.primary].name
	if use := w.writes.view.Snap.Load().Use; (len(use) != 1 || use[0].Name != name) && throne.Fenced[name] == "" && !w.lies {
		w.fail("%s is primary, alone and not fenced, and not used", name)
	}
}

// TestElectionModel plays crashes, promotions, mistakes, restarts of this
// process, with its memory and without, and probes that come late, fail and
// lie. No write may go to a server that has missed one which went to another,
// and clients never reach two.
func TestElectionModel(t *testing.T) {
	seeds := uint64(800)
	if testing.Short() {
		seeds = 200
	}
	fenced, led := 0, 0
	for seed := range seeds {
		w := newWorld(t, seed)
		for range 80 {
			w.step()
		}
		w.settle()
		if w.pool.roles.throne.Fenced[w.servers[w.primary].name] != "" {
			fenced++
		}
		led += w.newest
		if err := w.pool.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
	t.Logf("of %d worlds %d ended with the operator's primary fenced; writes saw %d promotions", seeds, fenced, led)
	if led < int(seeds) {
		t.Errorf("writes saw %d promotions: the worlds are too quiet to prove anything", led)
	}
}
