package balancer

import (
	"math"
	"net/http"
	"time"
)

// A Policy picks the backend for a request.
//
// Pick returns the index of one of the candidates, of which there is at least
// one. It is called by many goroutines at once, may keep state, and should
// neither block nor allocate.
type Policy interface {
	Pick(Query, Candidates) int
}

// A Query is what a policy is told of a request.
type Query struct {
	Now     time.Time
	Rand    uint64        // uniformly random, for the policy's use
	Key     uint64        // hash of the key that the pool's Affinity gave; 0: none
	Request *http.Request // as it goes out, without the backend's address; may be nil
}

// Candidates are the backends among which a policy picks.
type Candidates struct {
	now    time.Time
	list   []*entry
	stream bool // they are for one
	given  []Candidate
}

// Given returns candidates with the given figures, for tests of a policy.
func Given(c ...Candidate) Candidates { return Candidates{given: c} }

// Len returns how many there are.
func (c Candidates) Len() int {
	if c.given != nil {
		return len(c.given)
	}
	return len(c.list)
}

// At returns the figures of candidate i.
func (c Candidates) At(i int) Candidate {
	if c.given != nil {
		return c.given[i]
	}
	out := c.list[i].candidate(c.now)
	out.InFlight = c.inFlight(i)
	return out
}

// hash and inFlight return what most policies need of all candidates, for less
// than At.
func (c Candidates) hash(i int) uint64 {
	if c.given != nil {
		return hashString(c.given[i].Name)
	}
	return c.list[i].hash
}

func (c Candidates) inFlight(i int) int {
	if c.given != nil {
		return c.given[i].InFlight
	}
	l := c.list[i].load
	if c.stream {
		return l.InFlight() + l.Streams()
	}
	return l.InFlight()
}

// A Candidate is what a policy knows of a backend.
type Candidate struct {
	Name     string
	InFlight int           // requests from their pick to their closed body; with the streams only if the request asks for one
	Streams  int           // streams in hand: see [Limit.Streams]
	Waiting  int           // requests without a response's header yet
	Latency  time.Duration // to expect until a header: peaks count at once and fade; 0: nobody has tried yet
	Oldest   time.Duration // age of the oldest waiting request, at most ten times the pool's 90th percentile
	Weight   float64       // its share, lowered during a slow start
}

// rampFor and rampFrom are a slow start: a backend that came back is given a
// tenth of its share, and the whole after half a minute.
const (
	rampFor  = 30 * time.Second
	rampFrom = 0.1
)

// ramp returns the factor of a backend that came back at risen.
func ramp(risen int64, now time.Time) float64 {
	if risen == 0 {
		return 1
	}
	gone := now.UnixNano() - risen
	if gone >= int64(rampFor) {
		return 1
	}
	return max(rampFrom, float64(gone)/float64(rampFor))
}

// reportFor is how long a weight holds that a backend asked for, and spared is
// the share of one that asked for patience with Retry-After.
const (
	reportFor = 3 * time.Minute
	spared    = 0.1
)

// share returns e's weight as it is now: as configured, lowered during a slow
// start, by the backend's own report, and while it asks for patience.
func (e *entry) share(now time.Time) float64 {
	ns := now.UnixNano()
	w := float64(e.Weight) * ramp(e.risen.Load(), now)
	if at := e.reportedAt.Load(); at != 0 && ns-at < int64(reportFor) {
		w *= math.Float64frombits(e.reported.Load())
	}
	if ns < e.spare.Load() {
		w *= spared
	}
	return w
}

func (e *entry) candidate(now time.Time) Candidate {
	return Candidate{
		Name:     e.Name,
		InFlight: e.load.InFlight(),
		Streams:  e.load.Streams(),
		Waiting:  e.load.Waiting(),
		Latency:  e.load.Latency(now),
		Oldest:   e.load.Oldest(now),
		Weight:   e.share(now),
	}
}

// weight returns the share of candidate i.
func (c Candidates) weight(i int) float64 {
	if c.given != nil {
		return c.given[i].Weight
	}
	return c.list[i].share(c.now)
}
