package main

import (
	"errors"
	"math"
	"time"

	"github.com/foretier/foretier/balancer"
)

var (
	errRefused = errors.New("refused")
	errLate    = errors.New("no answer")
)

// contenders are our policies with all that surrounds them, and the peers',
// re-implemented from their sources.
var contenders = []contender{
	{"adaptive", balancer.Adaptive, true},
	{"hotcold", func() balancer.Policy { return hotCold{} }, true},
	{"least of 2", func() balancer.Policy { return leastOfTwo{} }, true},
	{"wrr (nginx)", balancer.RoundRobin, false}, // ours is theirs: see its comment
	{"leastconn (HAProxy)", balancer.LeastInFlight, false},
	{"p2c (Envoy)", func() balancer.Policy { return leastOfTwo{} }, false},
	{"leasttime (Traefik)", func() balancer.Policy { return &leastTime{of: map[string]*times{}} }, false},
	{"peak ewma (Finagle)", func() balancer.Policy { return &peakEWMA{of: map[string]*ewma{}} }, false},
}

// leastTime is Traefik's: the mean of the last hundred answers in whole
// milliseconds, times one more than the requests in flight. What fails to
// connect leaves no sample, so it stays at 0, the best there is.
type leastTime struct {
	of   map[string]*times
	next int
}

type times struct {
	last [100]time.Duration
	n    int
}

func (p *leastTime) learn(name string, _, took time.Duration, ok bool) {
	if took < time.Millisecond && !ok {
		return // refused
	}
	t := p.of[name]
	if t == nil {
		t = new(times)
		p.of[name] = t
	}
	t.last[t.n%len(t.last)] = took
	t.n++
}

func (p *leastTime) Pick(_ balancer.PickInfo, c balancer.Candidates) int {
	best, low := 0, math.Inf(1)
	p.next++
	for k := range c.Len() {
		i := (p.next + k) % c.Len()
		cand := c.At(i)
		score := 0.0
		if t := p.of[cand.Name]; t != nil {
			sum, n := time.Duration(0), min(t.n, len(t.last))
			for _, d := range t.last[:n] {
				sum += d
			}
			score = float64((sum / time.Duration(n)).Milliseconds()) * float64(cand.InFlight+1)
		}
		if score < low {
			best, low = i, score
		}
	}
	return best
}

// peakEWMA is Finagle's: of two, the one of lower cost, which is an average
// that jumps to peaks and decays over ten seconds, times one more than the
// requests pending.
type peakEWMA struct{ of map[string]*ewma }

type ewma struct {
	cost float64
	at   time.Duration
}

func (p *peakEWMA) learn(name string, now, took time.Duration, _ bool) {
	e := p.of[name]
	if e == nil {
		e = new(ewma)
		p.of[name] = e
	}
	d := float64(took)
	if d > e.cost {
		e.cost = d
	} else {
		w := math.Exp(-float64(now-e.at) / float64(10*time.Second))
		e.cost = e.cost*w + d*(1-w)
	}
	e.at = now
}

func (p *peakEWMA) Pick(info balancer.PickInfo, c balancer.Candidates) int {
	n := uint64(c.Len())
	a := int(info.Rand % n)
	if n == 1 {
		return a
	}
	b := int((info.Rand >> 32) % (n - 1))
	if b >= a {
		b++
	}
	if p.cost(c.At(b), info) < p.cost(c.At(a), info) {
		return b
	}
	return a
}

func (p *peakEWMA) cost(c balancer.Candidate, info balancer.PickInfo) float64 {
	e := p.of[c.Name]
	if e == nil {
		if c.InFlight > 0 {
			return 1e12 + float64(c.InFlight) // Finagle's penalty for the unknown
		}
		return 0
	}
	now := info.Now.Sub(epoch)
	w := math.Exp(-float64(now-e.at) / float64(10*time.Second))
	return e.cost * w * float64(c.InFlight+1)
}
