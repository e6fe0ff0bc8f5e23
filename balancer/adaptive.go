package balancer

// Adaptive returns the default policy: of two candidates drawn at random, of
// all of them up to four, the one with the lowest cost. The cost is the time
// to a response to expect, or the age of the oldest request that still waits
// for one if that is more, times the requests in hand, divided by the weight.
//
// A difference of less than a quarter is none: else, in quiet times, the one
// that happened to be measured fastest would serve alone.
//
// So a backend that has become slow is left alone before the first of its
// answers says so, and one that fails fast does not look fast.
func Adaptive() Policy { return adaptive{} }

type adaptive struct{}

// scanAll is up to how many candidates all are compared: with a few, drawing
// two is visibly uneven.
const scanAll = 4

func (adaptive) Pick(q Query, c Candidates) int {
	return lowest(q, c, 2, 0.75, adaptiveCost)
}

func adaptiveCost(c Candidate) float64 {
	return float64(max(c.Latency, c.Oldest, 1)) * float64(c.InFlight+1) / c.Weight
}

// LeastInFlight returns a policy that takes, of d candidates drawn at random,
// the one with the fewest requests in hand for its weight. d of 0, or of as
// many as there are, compares all.
func LeastInFlight(d int) Policy { return leastInFlight{d} }

type leastInFlight struct{ d int }

func (p leastInFlight) Pick(q Query, c Candidates) int {
	d := p.d
	if d <= 0 {
		d = c.Len()
	}
	return lowest(q, c, d, 1, inFlightCost)
}

func inFlightCost(c Candidate) float64 { return float64(c.InFlight+1) / c.Weight }

// lowest returns the candidate of lowest cost among d drawn at random, and
// among all if there are few. Ties fall to the one that comes first from a
// random start.
func lowest(q Query, c Candidates, d int, margin float64, cost func(Candidate) float64) int {
	n := c.Len()
	if n <= scanAll || d >= n {
		first := int(q.Rand % uint64(n))
		best, low := first, cost(c.At(first))
		for i := 1; i < n; i++ {
			k := first + i
			if k >= n {
				k -= n
			}
			if x := cost(c.At(k)); x < margin*low {
				best, low = k, x
			}
		}
		return best
	}
	best := int(q.Rand % uint64(n))
	low := cost(c.At(best))
	for r := mix(q.Rand); d > 1; d, r = d-1, mix(r) {
		// One of the n-1 others than the best so far.
		k := int(r % uint64(n-1))
		if k >= best {
			k++
		}
		if x := cost(c.At(k)); x < margin*low {
			best, low = k, x
		}
	}
	return best
}
