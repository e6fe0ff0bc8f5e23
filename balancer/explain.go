package balancer

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// Explain tells which backend r would go to now, what it would cost at each,
// and why some are not considered; or with what r would be answered, or for what
// it would wait. Where a policy draws a few at random, it tells the best of all.
func (p *Pool) Explain(r *http.Request) health.Decision {
	now := time.Now()
	x := p.newExchange(r)
	x.prepare()
	c := x.choose(now)
	d := p.decision(c, r, now)
	if err := p.refuses(r); p.Looped(r) {
		d.Verdict, d.Why = "508", "the request has been here before, says its "+p.hop.field
		return d
	} else if n, counts := maxForwards(r); counts && n == 0 {
		d.Verdict, d.Why = "answered here", "its Max-Forwards is 0"
		return d
	} else if err == ErrRefused {
		d.Verdict, d.Why = "refused", "the pool's guard matches"
		return d
	} else if err != nil {
		d.Verdict, d.Why = "503", err.Error()
		return d
	}
	switch {
	case worthAWait(c.err) || c.err == nil && x.behind() > 0:
		d.Verdict, d.Why = x.explainQueue(c)
		return d
	case c.err == ErrNoBackend:
		d.Verdict, d.Why = "none", c.why
	case c.err != nil:
		d.Verdict, d.Why = "503", c.err.Error()
		return d
	case c.entry != nil:
		d.Verdict, d.Why = c.entry.Name, c.why
	default:
		d.Verdict, d.Why = "any of those not excluded", fmt.Sprintf("the policy picks at the moment of the request (%T)", p.opts.Policy)
		if policy, ok := p.opts.Policy.(previewer); ok {
			i, why := policy.preview(Query{Now: now, Request: r}, x.candidates(c, now))
			c.entry = c.list[i]
			d.Verdict, d.Why = c.entry.Name, why
		}
	}
	if x.pin != "" && d.Verdict != x.pin {
		d.Why += fmt.Sprintf("; the client is bound to %q, which is not to be had", x.pin)
	}
	if c.entry != nil && p.opts.Refuse != nil && p.opts.Refuse.Match(x.request(r.Context(), c.entry)) {
		d.Verdict, d.Why = "refused", "the pool's guard matches what "+c.entry.Name+" would get"
	}
	return d
}

// explainQueue tells how a request waits for a place, or why it does not.
func (x *exchange) explainQueue(c choice) (verdict, why string) {
	p := x.pool
	limit, before := p.opts.Limit, p.queue.len()
	why = c.why
	switch {
	case c.err == nil:
		why = "others wait for a place"
	case c.err == errShare:
		why = x.explainShare(c)
	case c.entry != nil:
		why = fmt.Sprintf("the client is bound to %s, which has %d of %d requests in hand", c.entry.Name, c.entry.load.InFlight(), limit.InFlight)
	}
	switch p.queue.admits(limit, clientOf(x.req)) {
	case ErrBusy:
		return "503", fmt.Sprintf("%s, and the queue is full, with %d of %d", why, before, max(limit.Queue, 0))
	case errShare:
		return "503", fmt.Sprintf("%s, and as many of its requests wait as one client's may, among %d of %d", why, before, limit.Queue)
	}
	return "waits", fmt.Sprintf("%s: behind %d others for up to %v, then 503", why, before, limit.Wait)
}

// explainShare tells of which places the client has its share.
func (x *exchange) explainShare(c choice) string {
	mine, list, where := x.places(false), c.list, "in all"
	switch {
	case c.entry != nil:
		list, where = []*entry{c.entry}, "at "+c.entry.Name+", to which it is bound"
	case !mine.over(c.snap.use, 0):
		list, where = c.snap.use, "at each"
	}
	free := 0
	for _, e := range list {
		free += mine.free(e)
	}
	return fmt.Sprintf("the client has its share of the places %s: it holds %d, and the %d that are free are kept for others", where, mine.held(list), free)
}

// A previewer is a policy that can tell its pick beforehand, without counting
// it.
type previewer interface {
	preview(Query, Candidates) (index int, why string)
}

// A scorer is a policy that can tell what each candidate costs.
type scorer interface {
	costs(Candidates) []float64
}

// decision tells of every backend how it stands.
func (p *Pool) decision(c choice, r *http.Request, now time.Time) health.Decision {
	snap, list := c.snap, c.list
	d := health.Decision{Part: "pool " + p.opts.Name}
	var costs []float64
	if s, ok := p.opts.Policy.(scorer); ok {
		costs = s.costs(Candidates{now: now, list: list})
	}
	for _, e := range snap.all {
		s := e.status(now)
		var b strings.Builder
		fmt.Fprintf(&b, "%s: %s, weight %s, %d in hand, %v to a response", e.Name, s.State,
			strconv.FormatFloat(e.candidate(now).Weight, 'g', 3, 64), s.InFlight, s.Latency.Round(time.Microsecond))
		if s.Streams > 0 {
			fmt.Fprintf(&b, ", %d streams", s.Streams)
		}
		i := slices.Index(list, e)
		switch {
		case s.Mode != Ready:
			b.WriteString("; not picked: set to " + s.Mode.String())
		case i < 0 && slices.Contains(snap.use, e):
			b.WriteString("; not picked: tried already, full, or on trial")
		case i < 0:
			b.WriteString("; not picked: " + cmp.Or(s.Barred, s.Why, "of a higher tier"))
		case costs != nil:
			fmt.Fprintf(&b, ", cost %.3g", costs[i])
		}
		d.Steps = append(d.Steps, b.String())
	}
	return d
}

// picked tells [Trace.Picked] of a pick among list.
func (x *exchange) picked(c choice, now time.Time) {
	trace := x.pool.opts.Trace
	if trace == nil || trace.Picked == nil {
		return
	}
	d := x.pool.decision(c, x.req, now)
	d.Verdict, d.Why = c.entry.Name, c.why
	if n := len(x.tried); n > 0 {
		d.Why += fmt.Sprintf("; attempt %d", n+1)
	}
	trace.Picked(x.req.Context(), d)
}

// cheapest returns the index of the lowest cost.
func cheapest(costs []float64) int {
	best := 0
	for i, c := range costs {
		if c < costs[best] {
			best = i
		}
	}
	return best
}

// costs are those of a pick that compares all.
func (adaptive) costs(c Candidates) []float64 {
	all := make([]Candidate, c.Len())
	fastest, heaviest := time.Duration(0), 0.0
	for i := range all {
		all[i] = c.At(i)
		if w := wait(all[i]); w > 0 && (fastest == 0 || w < fastest) {
			fastest = w
		}
		heaviest = max(heaviest, all[i].Weight)
	}
	out := make([]float64, len(all))
	for i := range all {
		out[i] = adaptiveCost(all[i], slowness(wait(all[i]), fastest), heaviest)
	}
	return out
}

func (p adaptive) preview(_ Query, c Candidates) (int, string) {
	return cheapest(p.costs(c)), "the lowest cost; of many, three are drawn and compared"
}

func (leastInFlight) costs(c Candidates) []float64 {
	out := make([]float64, c.Len())
	for i := range out {
		out[i] = float64(c.inFlight(i)) / c.weight(i)
	}
	return out
}

func (p leastInFlight) preview(_ Query, c Candidates) (int, string) {
	return cheapest(p.costs(c)), "the fewest requests in hand for its weight"
}

func (p hashed) preview(q Query, c Candidates) (int, string) {
	return p.Pick(q, c), "by the request's key"
}

func (p *roundRobin) preview(_ Query, c Candidates) (int, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alignLocked(c)
	best, most := 0, 0.0
	for i := range c.Len() {
		if owed := p.current[i] + c.weight(i); i == 0 || owed > most {
			best, most = i, owed
		}
	}
	return best, "it is its turn"
}

func (first) preview(Query, Candidates) (int, string) { return 0, "the first in order" }
