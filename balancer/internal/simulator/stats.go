package main

import (
	"slices"
	"time"
)

// stats is what came of one run.
type stats struct {
	asked, attempts, failed, bad int
	took                         []time.Duration // of the requests that were answered
	changes                      int             // of a backend's state
	faultAt, detected            time.Duration
	sum, n                       float64
}

func (s *stats) end(took time.Duration, ok bool) {
	if !ok {
		s.failed++
		return
	}
	s.took = append(s.took, took)
}

// picked watches the balance, now and then.
func (s *stats) picked(g *gateway, m *member) {
	if s.attempts%64 != 0 {
		return
	}
	sum, most := 0, 0
	for _, o := range g.members {
		n := o.load.InFlight() - o.streams
		sum, most = sum+n, max(most, n)
	}
	if sum > len(g.members) {
		s.sum += float64(most*len(g.members)) / float64(sum)
		s.n++
	}
}

// merge adds up the runs of several seeds.
func merge(runs []*stats) *stats {
	out := new(stats)
	for _, r := range runs {
		out.asked += r.asked
		out.attempts += r.attempts
		out.failed += r.failed
		out.bad += r.bad
		out.changes += r.changes
		out.detected += r.detected / time.Duration(len(runs))
		out.took = append(out.took, r.took...)
		out.sum, out.n = out.sum+r.sum, out.n+r.n
	}
	slices.Sort(out.took)
	return out
}

// quantile returns the q-quantile of what was answered.
func (s *stats) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[min(int(q*float64(len(s.took))), len(s.took)-1)]
}

// over returns the share of requests that took longer than d, or failed.
func (s *stats) over(d time.Duration) float64 {
	i, _ := slices.BinarySearch(s.took, d)
	return float64(len(s.took)-i+s.failed) / float64(s.asked)
}

func (s *stats) errors() float64 { return float64(s.failed) / float64(max(s.asked, 1)) }

// balance is how many times the mean the busiest server has in flight.
func (s *stats) balance() float64 { return s.sum / max(s.n, 1) }
