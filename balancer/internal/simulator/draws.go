package main

import (
	"time"

	"github.com/foretier/foretier/balancer"
)

// drawn returns the indices of k candidates drawn at random, in order, or of all if
// they are no more than all.
func drawn(info balancer.PickInfo, c balancer.Candidates, k, all int) []int {
	n := c.Len()
	if n <= all {
		k = n
	}
	out, r := make([]int, 0, k), info.Rand
	for i := range n { // Knuth's selection: each set is as likely as any other
		r = spread(r)
		if r%uint64(n-i) < uint64(k-len(out)) {
			out = append(out, i)
		}
	}
	return out
}

// leastOfTwo takes, of two drawn at random, of all up to four, the one with the
// fewest requests in hand for its weight.
type leastOfTwo struct{}

func (leastOfTwo) Pick(info balancer.PickInfo, c balancer.Candidates) int {
	list := drawn(info, c, 2, 4)
	start := int(info.Rand>>32) % len(list)
	best, low := -1, 0.0
	for k := range list {
		i := list[(start+k)%len(list)]
		cand := c.At(i)
		if has := float64(cand.InFlight) / cand.Weight; best < 0 || has < low {
			best, low = i, has
		}
	}
	return best
}

// hotCold is Prequal's (NSDI 2024), on what this process knows itself: of three
// drawn at random, of all up to four, those that have more in hand for their weight
// than their fellows, by half or more, are hot. Of the cold ones the fastest is
// taken; if all are hot, the one with the least in hand.
type hotCold struct{}

func (hotCold) Pick(info balancer.PickInfo, c balancer.Candidates) int {
	list := drawn(info, c, 3, 4)
	mean := 0.0
	for _, i := range list {
		cand := c.At(i)
		mean += float64(cand.InFlight) / cand.Weight / float64(len(list))
	}
	best, cold, wait, inHand := -1, false, time.Duration(0), 0.0
	start := int(info.Rand>>32) % len(list)
	for k := range list {
		i := list[(start+k)%len(list)]
		cand := c.At(i)
		has := float64(cand.InFlight) / cand.Weight
		takes := max(cand.Latency, cand.Oldest)
		isCold := has <= 1.5*mean
		if best < 0 || isCold && (!cold || takes < wait) || !isCold && !cold && has < inHand {
			best, cold, wait, inHand = i, isCold, takes, has
		}
	}
	return best
}
