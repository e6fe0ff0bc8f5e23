package pool

import (
	"slices"
	"sync"
)

// RoundRobin is smooth weighted round robin, as nginx has it.
type RoundRobin struct {
	mu      sync.Mutex
	names   []uint64  // guarded by mu: the candidates of the latest pick, hashed
	current []float64 // guarded by mu: what each is owed
}

// Choose gives each candidate its weight, takes the one that is owed most, and
// takes from it what was given out (nginx's smooth weighted round robin).
func (p *RoundRobin) Choose(info PickInfo, c Candidates) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	names, owed := p.alignedLocked(c)
	if info.Peek {
		owed = slices.Clone(owed)
	} else {
		p.names, p.current = names, owed
	}
	best, total := 0, 0.0
	for i := range owed {
		w := c.weight(i)
		total += w
		owed[i] += w
		if owed[i] > owed[best] {
			best = i
		}
	}
	owed[best] -= total
	return best
}

func (*RoundRobin) Why() string { return "it is its turn" }

// alignedLocked returns what is owed to the candidates of this pick, and who they
// are.
func (p *RoundRobin) alignedLocked(c Candidates) (names []uint64, current []float64) {
	n := c.Len()
	same := len(p.names) == n
	for i := 0; same && i < n; i++ {
		same = p.names[i] == c.hash(i)
	}
	if same {
		return p.names, p.current
	}
	owed := make(map[uint64]float64, len(p.names))
	for i, name := range p.names {
		owed[name] = p.current[i]
	}
	names, current = make([]uint64, n), make([]float64, n)
	for i := range n {
		names[i] = c.hash(i)
		current[i] = owed[names[i]]
	}
	return names, current
}
