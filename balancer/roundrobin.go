package balancer

import "sync"

// RoundRobin returns a policy that gives each candidate its turn, by weight
// and evenly spread: with weights 5, 1 and 1, a a b a c a a. It knows nothing
// of load.
func RoundRobin() Policy { return new(roundRobin) }

type roundRobin struct {
	mu      sync.Mutex
	names   []uint64  // guarded by mu: the candidates of the latest pick, hashed
	current []float64 // guarded by mu: what each is owed
}

// Pick gives each candidate its weight, takes the one that is owed most, and
// takes from it what was given out (nginx's smooth weighted round robin).
func (p *roundRobin) Pick(_ Query, c Candidates) int {
	n := c.Len()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alignLocked(c)
	best, total := 0, 0.0
	for i := range n {
		w := c.weight(i)
		total += w
		p.current[i] += w
		if p.current[i] > p.current[best] {
			best = i
		}
	}
	p.current[best] -= total
	return best
}

// alignLocked makes what is owed belong to the candidates of this pick.
func (p *roundRobin) alignLocked(c Candidates) {
	n := c.Len()
	same := len(p.names) == n
	for i := 0; same && i < n; i++ {
		same = p.names[i] == c.hash(i)
	}
	if same {
		return
	}
	owed := make(map[uint64]float64, len(p.names))
	for i, name := range p.names {
		owed[name] = p.current[i]
	}
	p.names, p.current = make([]uint64, n), make([]float64, n)
	for i := range n {
		p.names[i] = c.hash(i)
		p.current[i] = owed[p.names[i]]
	}
}
