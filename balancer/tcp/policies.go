package tcp

import (
	"cmp"

	"github.com/foretier/foretier/balancer/internal/pool"
)

// A Policy picks the backend for a connection. The zero Policy is [Adaptive].
type Policy struct{ pool pool.Policy }

// Adaptive returns the default policy: of three candidates drawn at random, of
// all of them up to four, the one that has least in hand for its weight and is
// not much slower to accept than the fastest.
func Adaptive() Policy { return Policy{pool.Adaptive{}} }

// LeastInFlight returns a policy that takes the one with the fewest connections
// in hand for its weight. Equals are drawn by weight.
func LeastInFlight() Policy { return Policy{pool.LeastInFlight{}} }

// RoundRobin returns a policy that gives each candidate its turn, by weight
// and evenly spread. It knows nothing of load.
func RoundRobin() Policy { return Policy{new(pool.RoundRobin)} }

// Hash returns a policy that sends equal client addresses to one backend,
// whichever process asks (rendezvous hashing): when a backend goes, only its
// clients move. bound is how many times the average load a backend may be given
// before its clients overflow to their next choice. 0: 1.25. Negative: no bound.
func Hash(bound float64) Policy {
	return Policy{pool.Hash{Bound: cmp.Or(bound, 1.25)}}
}
