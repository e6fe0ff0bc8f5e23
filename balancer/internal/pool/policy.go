package pool

import (
	"math"
	"net/http"
	"time"
)

// A Policy picks one of the candidates, of which there is at least one. It is
// called by many goroutines at once, may keep state, and should neither block
// nor allocate.
type Policy interface {
	Choose(PickInfo, Candidates) int
	Why() string // it is picked, in words
}

// A PickInfo is what a policy is told of a request.
type PickInfo struct {
	Now     time.Time
	Rand    uint64        // uniformly random, for the policy's use
	Key     uint64        // hash of the request's key; 0: none
	Request *http.Request // may be nil
	Peek    bool          // the pick is only to be told: state stays as it is
}

// A Candidate is what a policy knows of a member.
type Candidate struct {
	Name     string
	InFlight int           // requests from their pick to their closed body; with the streams only if the request asks for one
	Streams  int           // streams in hand
	Waiting  int           // requests without a response's header yet
	Latency  time.Duration // to expect until a header: peaks count at once and fade; 0: nobody has tried yet
	Oldest   time.Duration // age of the oldest waiting request, at most ten times the pool's 90th percentile
	Weight   float64       // its share, lowered during a slow start
}

// Candidates are the members among which a policy picks.
type Candidates struct {
	Now    time.Time
	List   []*Entry
	Snap   *Snapshot   // of which they are some or all who serve, in order; nil: of none
	stream bool        // they are for one
	fixed  *weights    // see fix; nil: they are asked for one by one
	Given  []Candidate // in place of list
}

// Len returns how many there are.
func (c Candidates) Len() int {
	if c.Given != nil {
		return len(c.Given)
	}
	return len(c.List)
}

// At returns the figures of candidate i.
func (c Candidates) At(i int) Candidate {
	if c.Given != nil {
		return c.Given[i]
	}
	out := c.List[i].candidate(c.Now)
	out.InFlight = c.inFlight(i)
	return out
}

// hash and inFlight return what most policies need of all candidates, for less
// than at.
func (c Candidates) hash(i int) uint64 {
	if c.Given != nil {
		return Hash64(c.Given[i].Name)
	}
	return c.List[i].hash
}

func (c Candidates) inFlight(i int) int {
	if c.Given != nil {
		return c.Given[i].InFlight
	}
	l := c.List[i].Load
	if c.stream {
		return l.InFlight() + l.Streams()
	}
	return l.InFlight()
}

// partial reports whether some of those who serve are left out.
func (c Candidates) partial() bool { return c.Snap != nil && len(c.List) < len(c.Snap.Use) }

// weights returns those of all who serve, and of the candidates if they are of no
// snapshot.
func (c Candidates) weights() *weights {
	if c.Snap == nil {
		return weigh(c)
	}
	c.List = c.Snap.Use
	return c.Snap.weighing.weights(c)
}

// rampFor and RampFrom are a slow start: a backend that came back is given a
// tenth of its share, and the whole after half a minute.
const (
	rampFor  = 30 * time.Second
	RampFrom = 0.1
)

// Ramp returns the factor of a backend that came back at risen.
func Ramp(risen int64, now time.Time) float64 {
	if risen == 0 {
		return 1
	}
	gone := now.UnixNano() - risen
	if gone >= int64(rampFor) {
		return 1
	}
	return max(RampFrom, float64(gone)/float64(rampFor))
}

// reportFor is how long a weight holds that a backend asked for, and spared is
// the share of one that asked for patience with Retry-After.
const (
	reportFor = 3 * time.Minute
	spared    = 0.1
)

// Share returns e's weight as it is now: as configured, lowered during a slow
// start, by the backend's own report, and while it asks for patience.
func (e *Entry) Share(now time.Time) float64 {
	ns := now.UnixNano()
	w := float64(e.Weight) * Ramp(e.risen.Load(), now)
	if at := e.reportedAt.Load(); at != 0 && ns-at < int64(reportFor) {
		w *= math.Float64frombits(e.reported.Load())
	}
	if ns < e.spare.Load() {
		w *= spared
	}
	return w
}

func (e *Entry) candidate(now time.Time) Candidate {
	return Candidate{
		Name:     e.Name,
		InFlight: e.Load.InFlight(),
		Streams:  e.Load.Streams(),
		Waiting:  e.Load.Waiting(),
		Latency:  e.Load.Latency(now),
		Oldest:   e.Load.Oldest(now),
		Weight:   e.Share(now),
	}
}

// fix makes weight quick, for a policy that asks for all.
func (c *Candidates) fix() {
	if c.Snap != nil && !c.partial() {
		c.fixed = c.weights()
	}
}

// weight returns the share of candidate i.
func (c Candidates) weight(i int) float64 {
	if c.fixed != nil {
		return c.fixed.weight[i]
	}
	if c.Given != nil {
		return c.Given[i].Weight
	}
	return c.List[i].Share(c.Now)
}
