package pool

import (
	"math"
	"net/http"
)

// Hash is rendezvous hashing, as a policy.
type Hash struct {
	Key   func(*http.Request) string // of a request whose pool gave none; nil: none
	Bound float64                    // times the average load, up to which a key stays; not positive: none
}

func (p Hash) Choose(info PickInfo, c Candidates) int {
	if info.Key == 0 && info.Request != nil && p.Key != nil {
		info.Key = Hash64(p.Key(info.Request))
	}
	return rendezvous(info.Key, c, p.Bound)
}

func (Hash) Why() string { return "by the request's key" }

// rendezvous returns the candidate that scores highest for key among those
// that have less than bound times their share of the load, and the highest of
// all if none has.
func rendezvous(key uint64, c Candidates, bound float64) int {
	n := c.Len()
	l := limit{bound: bound, inFlight: 1}
	first, highest, same, equal := 0, uint64(0), 0.0, true
	for i := range n {
		w, h := c.weight(i), Mix(key^c.hash(i))
		if i == 0 {
			same = w
		}
		equal = equal && w == same
		if h > highest {
			first, highest = i, h
		}
		l.weight += w
		if bound > 0 {
			l.inFlight += float64(c.inFlight(i))
		}
	}
	if equal && l.allows(c, first, same) {
		return first // among equals the hash itself is in order of the scores
	}
	return l.best(key, c)
}

// A limit keeps a key from a backend that has more than its share in hand.
type limit struct{ bound, inFlight, weight float64 }

func (l limit) allows(c Candidates, i int, w float64) bool {
	return l.bound <= 0 || float64(c.inFlight(i)+1) <= math.Ceil(l.bound*l.inFlight*w/l.weight)
}

// best goes through all scores.
func (l limit) best(key uint64, c Candidates) int {
	best, top := -1, math.Inf(-1)
	first, highest := 0, math.Inf(-1)
	for i := range c.Len() {
		// -w/ln(u), u uniform in (0,1) by key and name, gives each backend a
		// share by its weight (Schindelhauer and Schomaker).
		u := (float64(Mix(key^c.hash(i))>>11) + 0.5) / (1 << 53)
		w := c.weight(i)
		score := -w / math.Log(u)
		if score > highest {
			first, highest = i, score
		}
		if score > top && l.allows(c, i, w) {
			best, top = i, score
		}
	}
	if best < 0 {
		return first
	}
	return best
}
