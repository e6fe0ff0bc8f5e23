package balancer

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/transit"
)

// A Policy picks the backend for a request.
//
// Pick returns the index of one of the candidates, of which there is at least
// one. It is called by many goroutines at once, may keep state, and should
// neither block nor allocate.
type Policy interface {
	Pick(PickInfo, Candidates) int
}

// A PickInfo is what a policy is told of a request.
type PickInfo struct {
	Now     time.Time
	Rand    uint64        // uniformly random, for the policy's use
	Key     uint64        // hash of the key that the pool's Affinity gave; 0: none
	Request *http.Request // as it goes out, without the backend's address; may be nil
	Peek    bool          // the pick is only to be told, by [Pool.Explain]: a policy that keeps state leaves it as it is
}

// Candidates are the backends among which a policy picks.
type Candidates struct{ of pool.Candidates }

// Given returns candidates with the given figures, for tests of a policy.
func Given(c ...Candidate) Candidates {
	out := make([]pool.Candidate, len(c))
	for i := range c {
		out[i] = pool.Candidate(c[i])
	}
	return Candidates{pool.Candidates{Given: out}}
}

// Len returns how many there are.
func (c Candidates) Len() int { return c.of.Len() }

// At returns the figures of candidate i.
func (c Candidates) At(i int) Candidate { return Candidate(c.of.At(i)) }

// A Candidate is what a policy knows of a backend.
type Candidate struct {
	Name     string
	InFlight int           // requests from their pick to their closed body; with the streams only if the request asks for one
	Streams  int           // streams in hand: see [Limits.Streams]
	Waiting  int           // requests without a response's header yet
	Latency  time.Duration // to expect until a header: peaks count at once and fade; 0: nobody has tried yet
	Oldest   time.Duration // age of the oldest waiting request, at most ten times the pool's 90th percentile
	Weight   float64       // its share, lowered during a slow start
}

// builtin is a policy of this package as users see it.
type builtin struct{ pool pool.Policy }

func (b builtin) Pick(info PickInfo, c Candidates) int {
	return b.pool.Choose(pool.PickInfo(info), c.of)
}

// foreign is a policy of a user's as the pool sees it.
type foreign struct{ user Policy }

func (f foreign) Choose(info pool.PickInfo, c pool.Candidates) int {
	return f.user.Pick(PickInfo(info), Candidates{c})
}

func (f foreign) Why() string { return fmt.Sprintf("the pick of %T", f.user) }

// blind reports whether p picks without showing the request to others than the tier.
func blind(p Policy) bool {
	b, ok := p.(builtin)
	if h, hashes := b.pool.(pool.Hash); hashes {
		return h.Own
	}
	return ok
}

// picker returns p as the pool sees it.
func picker(p Policy) pool.Policy {
	if b, ok := p.(builtin); ok {
		return b.pool
	}
	return foreign{p}
}

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
func Adaptive() Policy { return builtin{pool.Adaptive{}} }

// LeastInFlight returns a policy that takes the candidate with the fewest requests
// in hand for its weight. Equals are drawn by weight. It looks at all: of a thousand for
// some 20 µs. Weights that change count within 250 ms.
func LeastInFlight() Policy { return builtin{pool.LeastInFlight{}} }

// RoundRobin returns a policy that gives each candidate its turn, by weight
// and evenly spread: with weights 5, 1 and 1, a a b a c a a. It knows nothing
// of load. Each pool and each excerpt of one has turns of its own. Who has no room when
// it is its turn misses it. Weights that change, as in a slow start, count within
// 250 ms.
func RoundRobin() Policy { return builtin{new(pool.RoundRobin)} }

// Hash returns a policy that sends equal keys to one backend, whichever
// process asks (rendezvous hashing): when a backend goes, only its keys move.
//
// key names the request's key; nil: the client's address. bound is how many
// times the average load a backend may be given before its keys overflow to
// their next choice. 0: 1.25. Negative: no bound. The average is counted anew after a
// quarter as many picks as there are backends; weights that change count within 250 ms.
func Hash(key func(*http.Request) string, bound float64) Policy {
	own := key == nil
	if own {
		key = func(r *http.Request) string { return transit.Client(r).String() }
	}
	return builtin{pool.Hash{Key: key, Own: own, Bound: cmp.Or(bound, 1.25)}}
}

// First returns a policy that takes the first candidate, in the order in which
// the pool was given its backends: the others stand by.
func First() Policy { return builtin{pool.First{}} }
