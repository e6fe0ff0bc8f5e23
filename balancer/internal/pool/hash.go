package pool

import (
	"cmp"
	"math"
	"net/http"
)

// Hash is rendezvous hashing, as a policy.
type Hash struct {
	Key   func(*http.Request) string // of a request whose pool gave none; nil: none
	Own   bool                       // Key is the tier's, and keeps nothing of the request
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
	if c.Snap != nil && !c.partial() {
		if i, ok := foremost(key, c, bound); ok {
			return i
		}
	}
	c.fix()
	n := c.Len()
	l := limit{bound: bound, inFlight: 1}
	for i := range n {
		l.weight += c.weight(i)
		if bound > 0 {
			l.inFlight += float64(c.inFlight(i))
		}
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
		w := c.weight(i)
		score := scored(Mix(key^c.hash(i)), w)
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

// foremost returns the one of all who serve that scores highest for key among those
// with room, unless it is far down. It looks at names, and then at what few have in
// hand: figures of a thousand, each somewhere else in memory, would cost twenty times
// as much.
func foremost(key uint64, c Candidates, bound float64) (i int, ok bool) {
	s := c.weights()
	var top ranking[float64]
	for k := range s.classes {
		of := &s.classes[k]
		var equals ranking[uint64] // among them the hash itself is in order of the scores
		for j, h := range of.hash {
			equals.add(Mix(key^h), of.index[j])
		}
		for place, r := range equals.of[:equals.n] {
			score := -float64(place) // will do where all are equal
			if len(s.classes) > 1 {
				score = scored(r.score, of.weight)
			}
			top.add(score, r.index)
		}
	}
	if bound <= 0 || c.inFlight(top.of[0].index) == 0 {
		return top.of[0].index, true
	}
	l := limit{bound, c.Snap.weighing.load(c) + 1, s.total}
	for _, r := range top.of[:top.n] {
		if l.allows(c, r.index, s.weight[r.index]) {
			return r.index, true
		}
	}
	return 0, false
}

// scored returns the score of a weight for a hash of key and name: -w/ln(u), u uniform
// in (0,1), gives each backend a share by its weight (Schindelhauer and Schomaker).
func scored(hash uint64, w float64) float64 {
	return -w / math.Log((float64(hash>>11)+0.5)/(1<<53))
}

// A ranking is those that score highest, of all that were added.
type ranking[S cmp.Ordered] struct {
	n  int
	of [8]ranked[S]
}

type ranked[S cmp.Ordered] struct {
	score S
	index int
}

func (r *ranking[S]) add(score S, index int) {
	at := r.n
	switch {
	case r.n < len(r.of):
		r.n++
	case score > r.of[at-1].score:
		at--
	default:
		return
	}
	for ; at > 0 && score > r.of[at-1].score; at-- {
		r.of[at] = r.of[at-1]
	}
	r.of[at] = ranked[S]{score, index}
}
