package pool

import "time"

// HotCold is the policy of that name.
type HotCold struct{}

func (HotCold) Why() string { return "the fastest of those with little in hand" }

func (HotCold) Choose(q Query, c Candidates) int {
	var d draw
	d.among(q, c, 3)
	mean := 0.0
	for i := range d.n {
		mean += float64(d.of[i].InFlight) / d.of[i].Weight / float64(d.n)
	}
	best, cold, wait, inHand := -1, false, time.Duration(0), 0.0
	start := int(q.Rand % uint64(d.n))
	for k := range d.n {
		i := (start + k) % d.n
		has := float64(d.of[i].InFlight) / d.of[i].Weight
		takes := max(d.of[i].Latency, d.of[i].Oldest)
		isCold := has <= 1.5*mean
		if best < 0 || isCold && (!cold || takes < wait) || !isCold && !cold && has < inHand {
			best, cold, wait, inHand = i, isCold, takes, has
		}
	}
	return d.index[best]
}
