package main

import (
	"math/rand/v2"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// A contender is a policy as it is used: with or without judging its requests.
type contender struct {
	name   string
	policy func() balancer.Policy
	ours   bool // with passive ejection and rescue; every contender has probes and one retry
}

// A learner is a policy that keeps figures of its own.
type learner interface {
	learn(name string, now, took time.Duration, ok bool)
}

// A gateway picks, tries and retries as the pool does, with the pool's own
// policies, figures and trackers.
type gateway struct {
	sim     *engine
	rng     *rand.Rand
	who     contender
	policy  balancer.Policy
	shared  load.Pool
	outlier health.Outlier
	members []*member
	stats   *stats
	key     func() uint64
}

type member struct {
	server  *server
	load    *load.Load
	tracker *tracker.Tracker
	health  tracker.Health
	waits   map[*attempt]bool
	streams int
}

// giveUp is after what time the gateway answers 504 itself.
const giveUp = 20 * time.Second

func newGateway(sim *engine, rng *rand.Rand, who contender, servers []*server, st *stats) *gateway {
	g := &gateway{sim: sim, rng: rng, who: who, policy: who.policy(), outlier: health.Outlier{}.WithDefaults(), stats: st}
	outlier := health.Outlier{}
	if !who.ours {
		outlier = health.Outlier{Consecutive: -1, MinSuccess: -1}
	}
	for _, s := range servers {
		m := &member{server: s, load: load.New(&g.shared), tracker: tracker.New(health.Schedule{}, outlier, true), waits: map[*attempt]bool{}}
		g.members = append(g.members, m)
		m.tracker.Probed(epoch, health.Result{State: health.Up}, nil)
		m.health = m.tracker.Health(epoch)
		g.probeLater(m)
	}
	return g
}

// probeLater probes as balancer.Pool.Run does.
func (g *gateway) probeLater(m *member) {
	s := health.Schedule{}.WithDefaults()
	every := s.Every
	if m.tracker.Changing() {
		every = s.Changing
	}
	g.sim.after(time.Duration(float64(every)*(0.8+0.4*g.rng.Float64())), func() {
		f := m.server.state(g.sim.now)
		took, err := time.Millisecond, error(nil)
		switch {
		case f.refuse:
			err = errRefused
		case f.hangs:
			took, err = s.Timeout, errLate
		}
		g.sim.after(took, func() {
			m.tracker.Probed(g.sim.clock(), health.Result{State: health.Up}, err)
			g.refresh(m)
			g.probeLater(m)
		})
	})
}

// refresh judges the member anew and rescues what waits on one that is down.
func (g *gateway) refresh(m *member) {
	was := m.health.State
	m.health = m.tracker.Health(g.sim.clock())
	if now := m.health.State; now != was {
		g.stats.changes++
		if now > health.Up && g.stats.detected == 0 && g.stats.faultAt > 0 && g.sim.now >= g.stats.faultAt {
			g.stats.detected = g.sim.now - g.stats.faultAt
		}
	}
	if g.who.ours && m.health.State == health.Down && was != health.Down {
		for a := range m.waits {
			a.move()
		}
	}
}

// A request is what a client sent.
type request struct {
	g     *gateway
	start time.Duration
	key   uint64
	tried []*member
	again bool
}

// An attempt is one try of it.
type attempt struct {
	r      *request
	m      *member
	ticket load.Ticket
	start  time.Duration
	job    *job
	over   bool
}

func (g *gateway) serve() {
	r := &request{g: g, start: g.sim.now}
	if g.key != nil {
		r.key = g.key()
	}
	g.stats.asked++
	r.try()
}

// usable returns the members that a request may go to, as balancer.Pool finds
// them.
func (g *gateway) usable(tried []*member) []*member {
	now := g.sim.clock()
	healths := make([]tracker.Health, len(g.members))
	for i, m := range g.members {
		if u := m.health.Until; !u.IsZero() && !now.Before(u) {
			g.refresh(m)
		}
		healths[i] = m.health
	}
	var out, all []*member
next:
	for _, i := range tracker.Usable(nil, healths) {
		m := g.members[i]
		for _, t := range tried {
			if t == m {
				continue next
			}
		}
		all = append(all, m)
		if !m.health.Trial || m.load.InFlight() == 0 {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

func (r *request) try() {
	g := r.g
	list := g.usable(r.tried)
	if len(list) == 0 {
		g.stats.end(g.sim.now-r.start, false)
		return
	}
	now := g.sim.clock()
	given := make([]balancer.Candidate, len(list))
	for i, m := range list {
		given[i] = balancer.Candidate{
			Name: m.server.name, InFlight: m.load.InFlight(), Waiting: m.load.Waiting(),
			Latency: m.load.Latency(now), Oldest: m.load.Oldest(now), Weight: ramp(m.health.Risen, now),
		}
	}
	m := list[g.policy.Pick(balancer.PickInfo{Now: now, Rand: g.rng.Uint64(), Key: r.key}, balancer.Given(given...))]
	a := &attempt{r: r, m: m, start: g.sim.now}
	r.tried = append(r.tried, m)
	m.load.Start(&a.ticket, now)
	m.waits[a] = true
	g.stats.attempts++
	a.job = &job{done: a.done}
	g.stats.picked(g, m)
	m.server.take(a.job)
	g.sim.at(r.start+giveUp, func() { a.end(504) })
}

// ramp is the slow start of balancer.Pool.
func ramp(risen, now time.Time) float64 {
	if risen.IsZero() {
		return 1
	}
	return min(1, max(0.1, now.Sub(risen).Seconds()/30))
}

func (a *attempt) done(status int) { a.end(status) }

// move is the rescue of balancer.Pool.
func (a *attempt) move() {
	if !a.over && len(a.r.g.usable(a.r.tried)) > 0 {
		a.leave(0, false)
		a.r.try()
	}
}

// leave takes the attempt off its member.
func (a *attempt) leave(status int, judged bool) {
	now := a.r.g.sim.clock()
	a.over, a.job.gone = true, true
	delete(a.m.waits, a)
	if judged {
		a.ticket.Header(now, status == 0 || status >= 500)
	} else {
		a.ticket.Leave()
	}
	a.ticket.Done()
}

func (a *attempt) end(status int) {
	if a.over {
		return
	}
	g, m := a.r.g, a.m
	a.leave(status, true)
	took := g.sim.now - a.start
	if l, ok := g.policy.(learner); ok {
		l.learn(m.server.name, g.sim.now, took, status == 200)
	}
	o := outcome(status)
	if o != tracker.Answered {
		g.stats.bad++
	}
	if eject, changed := m.tracker.Observe(g.sim.clock(), o); g.who.ours && (eject || changed) {
		if eject && g.mayEject(m) {
			m.tracker.Eject(g.sim.clock(), g.rng.Float64())
		}
		g.refresh(m)
	}
	if o != tracker.Answered && status != 504 && !a.r.again {
		a.r.again = status != 0
		if len(g.usable(a.r.tried)) > 0 {
			a.r.try()
			return
		}
	}
	g.stats.end(g.sim.now-a.r.start, status == 200)
}

func outcome(status int) tracker.Outcome {
	switch {
	case status == 0:
		return tracker.Refused
	case status == 500:
		return tracker.Erred
	case status > 500:
		return tracker.Failed
	}
	return tracker.Answered
}

// mayEject is the cap of balancer.Pool.
func (g *gateway) mayEject(m *member) bool {
	if hard, _ := m.tracker.Suspect(); hard {
		return true
	}
	out := 0
	for _, other := range g.members {
		if other != m && other.health.State == health.Degraded {
			out++
		}
	}
	return tracker.MayEject(g.outlier, out, len(g.members))
}
