package pool

import (
	"math"
	"time"
)

// Adaptive is the policy of that name.
type Adaptive struct{}

func (Adaptive) Why() string {
	return "the lowest cost; equals are drawn, and of many the three that are compared"
}

// scanAll is up to how many candidates all are compared: with a few, drawing
// two is visibly uneven.
const scanAll = 4

func (Adaptive) Choose(info PickInfo, c Candidates) int {
	var d draw
	d.among(info, c, 3)
	return d.index[d.lowest(info.Rand, d.slowness())]
}

// LeastInFlight is the policy of that name.
type LeastInFlight struct{}

func (LeastInFlight) Choose(info PickInfo, c Candidates) int {
	c.fix()
	n := c.Len()
	best, low, total := 0, 0.0, 0.0
	r := info.Rand
	for i := range n {
		w := c.weight(i)
		cost := float64(c.inFlight(i)) / w
		switch {
		case i == 0 || cost < low:
			best, low, total = i, cost, w
		case cost == low:
			total += w
			if r = Mix(r); unit(r)*total < w {
				best = i
			}
		}
	}
	return best
}

func (LeastInFlight) Why() string {
	return "the fewest requests in hand for its weight; equals are drawn"
}

// A draw is the few candidates that one pick compares.
type draw struct {
	n     int
	index [scanAll]int
	of    [scanAll]Candidate
}

// among draws k candidates, or takes all if they are few.
func (d *draw) among(info PickInfo, c Candidates, k int) {
	n := c.Len()
	if n <= scanAll {
		d.n = n
		for i := range n {
			d.index[i], d.of[i] = i, c.At(i)
		}
		return
	}
	r := info.Rand
	for d.n < k {
		r = Mix(r)
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
			if r = Mix(r); unit(r)*total < w {
				best = i
			}
		}
	}
	return best
}

// unit maps r to [0,1).
func unit(r uint64) float64 { return float64(r>>11) / (1 << 53) }
