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
// answers says so, and one that fails fast does not look fast.
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

// slowness returns how many times slower each is than the fastest, where small
// differences count as none. One that nobody has tried costs nothing, until
// somebody does.
func (d *draw) slowness() [scanAll]float64 {
	var wait [scanAll]time.Duration
	for i := range d.n {
		wait[i] = max(d.of[i].Latency, d.of[i].Oldest)
	}
	fastest := time.Duration(math.MaxInt64 / 4)
	for _, w := range wait[:d.n] {
		if w > 0 {
			fastest = min(fastest, w)
		}
	}
	equal := max(2*fastest, fastest+time.Millisecond)
	var out [scanAll]float64
	for i, w := range wait[:d.n] {
		switch {
		case w > equal:
			out[i] = float64(w) / float64(fastest)
		case w > 0:
			out[i] = 1
		}
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
		waits := float64(d.of[i].Waiting) + float64(d.of[i].InFlight-d.of[i].Waiting)/8
		cost := (waits*heaviest/w + 1) * slowness[i]
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
