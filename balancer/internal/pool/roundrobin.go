package pool

import (
	"cmp"
	"slices"
	"sync"
)

// RoundRobin is smooth weighted round robin, as nginx has it.
type RoundRobin struct {
	mu    sync.Mutex
	turns *turns // guarded by mu; nil before the first pick
}

// own returns a policy for a view: its turns are not another's.
func (*RoundRobin) own() Policy { return new(RoundRobin) }

// Choose gives each candidate its weight, takes the one that is owed most, and
// takes from it what was given out (nginx's smooth weighted round robin). Where some
// of those who serve are left out, they are given theirs all the same: it was their
// turn, and they could not take it.
func (p *RoundRobin) Choose(info PickInfo, c Candidates) int {
	s := c.weights()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turns.follow(s)
	var turn, pick int // of all, and of the candidates
	if c.partial() {
		if next := t.next(); info.Peek && !slices.Contains(c.List, c.Snap.Use[next]) {
			t = t.clone()
			t.take(next) // as it would have been before the others were asked
		}
		turn, pick = t.nextOf(c)
	} else {
		turn = t.next()
		pick = turn
	}
	if !info.Peek {
		p.turns = t
		t.take(turn)
	}
	return pick
}

func (*RoundRobin) Why() string { return "it is its turn" }

// turns are what candidates are owed. Those of one weight are given the same, so that
// who of them is owed most changes by what is taken only: a pick costs as much as
// there are weights, and the logarithm of the candidates.
type turns struct {
	weights *weights
	given   []float64 // to each candidate of a class
	taken   []float64 // from each candidate, below zero
	heap    [][]int   // of each class, who is owed most first, then in order
}

// follow returns the turns by these weights: what was owed by name still is.
func (t *turns) follow(s *weights) *turns {
	if t != nil && t.weights == s {
		return t
	}
	n := len(s.hash)
	out := &turns{weights: s, given: make([]float64, len(s.classes)), taken: make([]float64, n), heap: make([][]int, len(s.classes))}
	if t != nil {
		owed := make(map[uint64]float64, len(t.weights.hash))
		for i, name := range t.weights.hash {
			owed[name] = t.owed(i)
		}
		for i, name := range s.hash {
			out.taken[i] = owed[name]
		}
	}
	for k := range s.classes {
		out.heap[k] = slices.Clone(s.classes[k].index)
		for at := len(out.heap[k])/2 - 1; at >= 0; at-- {
			out.down(k, at)
		}
	}
	return out
}

func (t *turns) clone() *turns {
	out := *t
	out.given, out.taken, out.heap = slices.Clone(t.given), slices.Clone(t.taken), slices.Clone(t.heap)
	for k := range out.heap {
		out.heap[k] = slices.Clone(out.heap[k])
	}
	return &out
}

func (t *turns) owed(i int) float64 { return t.given[t.weights.class[i]] + t.taken[i] }

// next returns whose turn it is.
func (t *turns) next() int {
	best, most := -1, 0.0
	for k := range t.heap {
		i := t.heap[k][0]
		if owed := t.given[k] + t.weights.classes[k].weight + t.taken[i]; best < 0 || owed > most || owed == most && i < best {
			best, most = i, owed
		}
	}
	return best
}

// nextOf returns whose turn it is among c, some of those who serve, in order, and
// which of c that is.
func (t *turns) nextOf(c Candidates) (turn, pick int) {
	turn, most, at := -1, 0.0, 0
	for i, e := range c.Snap.Use {
		if at == len(c.List) {
			break
		}
		if c.List[at] != e {
			continue
		}
		if owed := t.owed(i) + t.weights.weight[i]; turn < 0 || owed > most {
			turn, pick, most = i, at, owed
		}
		at++
	}
	return turn, pick
}

// take gives all their weights, and takes from i what was given out.
func (t *turns) take(i int) {
	for k := range t.given {
		t.given[k] += t.weights.classes[k].weight
	}
	t.taken[i] -= t.weights.total
	k := t.weights.class[i]
	at := 0
	for t.heap[k][at] != i { // as nearly always
		at++
	}
	t.down(k, at)
}

// down restores the order of class k's heap below the one at a place, which is owed
// less than before.
func (t *turns) down(k, at int) {
	h := t.heap[k]
	for {
		next := 2*at + 1
		if next >= len(h) {
			return
		}
		if next+1 < len(h) && t.before(h[next+1], h[next]) {
			next++
		}
		if !t.before(h[next], h[at]) {
			return
		}
		h[at], h[next] = h[next], h[at]
		at = next
	}
}

// before reports whether it is a's turn before b's, which is of the same weight.
func (t *turns) before(a, b int) bool {
	return cmp.Or(cmp.Compare(t.taken[b], t.taken[a]), cmp.Compare(a, b)) < 0
}
