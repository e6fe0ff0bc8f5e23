package balancer

import (
	"math"
	"time"
)

// Adaptive returns the default policy: of three candidates drawn at random, of
// all of them up to four, the one with the lowest cost. The cost is the
// requests that wait for its weight, and one, times how much slower the
// candidate is than the fastest of those compared. A request whose response
// has begun counts an eighth: it may be a stream that costs next to nothing. How slow it is, is the time
// to a response to expect, or the age of the oldest request that still waits
// for one if that is more. Up to twice the fastest's, or up to a millisecond
// more, counts as equal: else, in quiet times, the one that happened to be
// measured fastest would serve alone. Equals are drawn by weight.
//
// So a backend that has become slow is left alone before the first of its
// answers says so, and one that fails fast does not look fast. Failures of those
// who are bound to a backend count once they are several clients': one visitor
// must not take the others' requests from it.
func Adaptive() Policy { return adaptive{} }

type adaptive struct{}

// scanAll is up to how many candidates all are compared: with a few, drawing
// two is visibly uneven.
const scanAll = 4

func (adaptive) Pick(q Query, c Candidates) int {
	var d draw
	d.among(q, c, 3)
	return d.index[d.lowest(q.Rand, d.slowness())]
}

// LeastInFlight returns a policy that takes, of d candidates drawn at random,
// the one with the fewest requests in hand for its weight. Equals are drawn by
// weight. d of 0, or of as many as there are, compares all; of up to four, all
// are compared.
func LeastInFlight(d int) Policy { return leastInFlight{d} }

type leastInFlight struct{ d int }

func (p leastInFlight) Pick(q Query, c Candidates) int {
	n := c.Len()
	if p.d > 0 && p.d < n {
		var d draw
		d.among(q, c, min(p.d, scanAll))
		for i := range d.n {
			d.of[i].Waiting = d.of[i].InFlight // all count alike
		}
		return d.index[d.lowest(q.Rand, [scanAll]float64{1, 1, 1, 1})]
	}
	best, low, total := 0, 0.0, 0.0
	r := q.Rand
	for i := range n {
		w := c.weight(i)
		cost := float64(c.inFlight(i)) / w
		switch {
		case i == 0 || cost < low:
			best, low, total = i, cost, w
		case cost == low:
			total += w
			if r = mix(r); unit(r)*total < w {
				best = i
			}
		}
	}
	return best
}

// A draw is the few candidates that one pick compares.
type draw struct {
	n     int
	index [scanAll]int
	of    [scanAll]Candidate
}

// among draws k candidates, or takes all if they are few.
func (d *draw) among(q Query, c Candidates, k int) {
	n := c.Len()
	if n <= scanAll {
		d.n = n
		for i := range n {
			d.index[i], d.of[i] = i, c.At(i)
		}
		return
	}
	r := q.Rand
	for d.n < k {
		r = mix(r)
		i := int(r % uint64(n-d.n))
		for j := range d.n { // the n-d.n that are left, in order
			if i >= d.index[j] {
				i++
			}
		}
		j := d.n
		for ; j > 0 && d.index[j-1] > i; j-- { // keep the index in order
			d.index[j], d.of[j] = d.index[j-1], d.of[j-1]
		}
		d.index[j], d.of[j] = i, c.At(i)
		d.n++
	}
}

// wait is how long a request is to wait at c.
func wait(c Candidate) time.Duration { return max(c.Latency, c.Oldest) }

// slowness returns how many times slower than the fastest one is who takes
// that long, where small differences count as none. One that nobody has tried
// costs nothing, until somebody does.
func slowness(takes, fastest time.Duration) float64 {
	switch {
	case takes == 0:
		return 0
	case takes > max(2*fastest, fastest+time.Millisecond):
		return float64(takes) / float64(fastest)
	}
	return 1
}

// adaptiveCost is what a request costs at c, beside one whose weight is
// heaviest.
func adaptiveCost(c Candidate, slowness, heaviest float64) float64 {
	waits := float64(c.Waiting) + float64(c.InFlight-c.Waiting)/8
	return (waits*heaviest/c.Weight + 1) * slowness
}

// slowness returns that of each, beside the fastest of those drawn.
func (d *draw) slowness() (out [scanAll]float64) {
	fastest := time.Duration(math.MaxInt64 / 4)
	for i := range d.n {
		if w := wait(d.of[i]); w > 0 {
			fastest = min(fastest, w)
		}
	}
	for i := range d.n {
		out[i] = slowness(wait(d.of[i]), fastest)
	}
	return out
}

// lowest returns the one of lowest cost; equals are drawn by weight.
func (d *draw) lowest(r uint64, slowness [scanAll]float64) int {
	heaviest := d.of[0].Weight
	for i := 1; i < d.n; i++ {
		heaviest = max(heaviest, d.of[i].Weight)
	}
	best, low, total := 0, 0.0, 0.0
	for i := range d.n {
		w := d.of[i].Weight
		cost := adaptiveCost(d.of[i], slowness[i], heaviest)
		switch {
		case i == 0 || cost < low:
			best, low, total = i, cost, w
		case cost == low:
			total += w
			if r = mix(r); unit(r)*total < w {
				best = i
			}
		}
	}
	return best
}

// unit maps r to [0,1).
func unit(r uint64) float64 { return float64(r>>11) / (1 << 53) }
