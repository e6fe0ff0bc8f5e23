package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// RoundTrip sends r to a backend and, while that is allowed, to a second one
// if the first fails. The URL's scheme and host are replaced by the backend's.
// It implements [http.RoundTripper].
func (p *Pool) RoundTrip(r *http.Request) (*http.Response, error) {
	x := p.newExchange(r)
	res, err := x.run()
	if err != nil && r.Body != nil {
		_ = r.Body.Close() // as RoundTrip must; else it ends with the response's
	}
	return res, err
}

// An exchange is one request on its way through the pool.
type exchange struct {
	pool      *Pool
	req       *http.Request
	rec       *transit.Record // may be nil
	timeouts  Timeouts
	retry     transit.Retry
	header    http.Header  // what every attempt sends
	spool     *spool       // nil without a body
	turn      transit.Turn // of the rule's places, which it gave up for its body; nil: none
	trailers  []string     // what may follow it
	pin       string       // the backend that the client is bound to
	key       uint64
	who       fair.Key // whose share of the places it takes
	stream    bool     // it counts as a stream: a rule says so, or its answer has
	mayStream bool     // it asks for one
	tried     []*member
	repeats   int      // attempts after one that may have been executed
	before    []failed // the attempts that failed
	last      failed   // the latest attempt
	took      time.Duration
	scratch   [8]*entry
	room      [2]*member // for tried
}

func (p *Pool) newExchange(r *http.Request) *exchange {
	return &exchange{pool: p, req: r, rec: transit.From(r.Context()), timeouts: p.opts.Timeouts}
}

// refuses returns why r goes to no backend, or nil.
func (p *Pool) refuses(r *http.Request) error {
	if p.closing.Err() != nil {
		return ErrClosed
	}
	if p.opts.Refuse != nil && p.opts.Refuse.Match(r) {
		return ErrRefused
	}
	return nil
}

func (x *exchange) run() (*http.Response, error) {
	p := x.pool
	if err := p.refuses(x.req); err != nil {
		return nil, err
	}
	x.prepare()
	if err := x.gather(); err != nil {
		x.spool.end()
		return nil, err
	}
	p.inflight.Add(1)
	p.budget.requests.add(time.Now().Unix())
	res, err := x.attempts()
	if err != nil {
		p.inflight.Add(-1)
		if x.spool != nil {
			x.spool.end()
		}
		return nil, err
	}
	if x.spool != nil {
		x.spool.settle()
	}
	if p.opts.Affinity != nil {
		p.bind(res, x)
	}
	return res, nil
}

// prepare gathers what holds for every attempt.
func (x *exchange) prepare() {
	p, r := x.pool, x.req
	if x.rec != nil {
		t := x.rec.Terms
		x.retry = t.Retry
		x.timeouts.Header = override(t.Header, x.timeouts.Header)
		x.timeouts.Idle = override(t.Idle, x.timeouts.Idle)
		x.timeouts.Total = override(t.Total, x.timeouts.Total)
		x.stream = t.Streams
	}
	x.mayStream = asksForStream(r.Header)
	if p.opts.Limit.InFlight > 0 || p.opts.Limit.Streams > 0 {
		x.who = fair.Of(transit.Client(r))
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.spool = newSpool(r.Body, p.opts.Retry.Body, &p.depot, clientOf(r))
		x.trailers = announcedTrailers(r)
	}
	x.header = r.Header
	if p.opts.Affinity != nil {
		var key string
		if x.pin, key = p.opts.Affinity.Choose(r); key != "" {
			x.key = hashString(key)
		}
		x.header = r.Header.Clone()
		p.opts.Affinity.Strip(x.header)
	}
}

func override(rule, pool time.Duration) time.Duration {
	if rule != 0 {
		return rule
	}
	return pool
}

// attempts tries backends until one answers, or no more may be tried.
func (x *exchange) attempts() (*http.Response, error) {
	p := x.pool
	t, err := x.acquire()
	if err != nil {
		return nil, err
	}
	for {
		res, err := t.roundTrip()
		next := x.next(t, res, err)
		if next == nil && err == nil {
			if err = t.settle(res); err != nil {
				_ = res.Body.Close() // there is no place for it
				t.end()
			}
		}
		if next == nil {
			x.now(t, err)
			if err != nil {
				return nil, x.failure(t, err)
			}
			x.pin = t.entry.Name
			t.finish(res)
			return res, nil
		}
		if err == nil {
			err = fmt.Errorf("answered %d", res.StatusCode)
			_ = res.Body.Close() // it is thrown away
			t.end()
		}
		x.before = append(x.before, failed{t.entry.Name, err})
		p.retried.Add(1)
		t = next
	}
}

// next returns the try that follows t, or nil if there is none: what was not
// sent, or was rescued, goes on to any backend that is left, the rest as far
// as the retries go.
func (x *exchange) next(t *try, res *http.Response, err error) *try {
	p := x.pool
	unsent := err != nil && t.unsent(err) || err == errRescued // which has paid already
	if !t.mayRepeat(res, err) || !unsent && x.repeats >= p.opts.Retry.Max {
		return nil
	}
	next, none := x.acquireNow()
	if none != nil {
		return nil
	}
	if !unsent {
		if !p.budget.spend(time.Now(), p.opts.Retry) {
			next.abandon()
			return nil
		}
		x.repeats++
	}
	return next
}

// failed is what became of an attempt.
type failed struct {
	backend string
	err     error
}

// failure returns the error of an exchange that ended with err at t.
func (x *exchange) failure(t *try, err error) error {
	err = t.entry.fail(err)
	for _, f := range x.before {
		err = fmt.Errorf("%w (before: backend %s: %v)", err, f.backend, f.err)
	}
	return err
}

// now notes for the log line where the request went.
func (x *exchange) now(t *try, err error) {
	x.last, x.took = failed{t.entry.Name, err}, time.Since(t.start)
	x.rec.Note("pool", x)
}

// LogValue implements [slog.LogValuer]: "web2 0.012s after web1: connection refused".
func (x *exchange) LogValue() slog.Value {
	var b strings.Builder
	b.WriteString(x.last.backend + " " + strconv.FormatFloat(x.took.Round(10*time.Microsecond).Seconds(), 'f', -1, 64) + "s")
	if x.last.err != nil {
		b.WriteString(" failed")
	}
	for _, f := range x.before {
		fmt.Fprintf(&b, " after %s: %v", f.backend, f.err)
	}
	return slog.StringValue(b.String())
}

// acquire picks a backend, and waits in the queue if all are full.
func (x *exchange) acquire() (*try, error) {
	if x.behind() > 0 {
		return x.wait()
	}
	t, err := x.acquireNow()
	if worthAWait(err) {
		return x.wait()
	}
	return t, err
}

// behind returns how many who came before wait for any place.
func (x *exchange) behind() int {
	if x.pool.opts.Limit.InFlight == 0 || x.stream {
		return 0
	}
	return x.pool.queue.before()
}

// may reports whether the client of a request that was not tried yet may have one
// of the places where it may have any. It changes nothing and takes no lock.
func (x *exchange) may() bool {
	snap := x.pool.snap.Load()
	if x.crowds(snap.use) != nil {
		return false
	}
	e := snap.byName[x.pin]
	return x.pin == "" || e == nil || !snap.serves(e, time.Now()) || x.full(e) == nil
}

func (x *exchange) wait() (t *try, err error) {
	p := x.pool
	full := p.queue.wait(x.req.Context(), p.closing.Done(), p.opts.Limit, clientOf(x.req), x.may, func() error {
		t, err = x.acquireNow()
		return err
	})
	if full != nil {
		return nil, full
	}
	return t, err
}

// acquireNow picks a backend that was not tried and has a place.
func (x *exchange) acquireNow() (*try, error) {
	limit := x.pool.opts.Limit
	for {
		now := time.Now()
		e, err := x.pick(now)
		if err != nil {
			return nil, err
		}
		t := &try{exchange: x, entry: e, start: now, ctx: x.req.Context()}
		t.ticket.Owner = t
		if x.stream && !e.load.TryStream(&t.ticket, now, limit.Streams) ||
			!x.stream && !e.load.TryStart(&t.ticket, now, limit.InFlight) {
			continue // another was faster
		}
		// A further attempt is the same request, which has been let in.
		if due := t.held.take(x.places(x.stream), x.pool.current(now).use, e); !due && len(x.tried) == 0 {
			t.ticket.Leave()
			t.free()
			continue
		}
		if x.tried == nil {
			x.tried = x.room[:0]
		}
		x.tried = append(x.tried, e.member)
		e.requests.Add(1)
		return t, nil
	}
}

// A choice is what the pool decides for the next attempt at one moment: one
// backend, or several among which the policy picks, or none. Serving acts on it,
// and [Pool.Explain] tells it.
type choice struct {
	snap  *snapshot
	list  []*entry // who is considered
	entry *entry   // nil: the policy picks
	why   string   // this one, or none
	err   error    // [ErrBusy] or what wraps it, [ErrNoBackend]: nobody
}

// choose decides for the next attempt.
func (x *exchange) choose(now time.Time) choice {
	p := x.pool
	snap := p.current(now)
	c := choice{snap: snap, list: snap.use}
	limited := p.opts.Limit.InFlight > 0 || p.opts.Limit.Streams > 0
	if limited && len(x.tried) == 0 {
		if c.err = x.crowds(snap.use); c.err != nil {
			c.why = "what is free is kept for others"
			return c
		}
	}
	if x.pin != "" && len(x.tried) == 0 {
		if e := snap.byName[x.pin]; e != nil && snap.serves(e, now) {
			if c.entry, c.why, c.err = e, "the client is bound to it", x.full(e); c.err == ErrBusy {
				c.err = errBound
			}
			return c
		}
	}
	if snap.trial || limited || len(x.tried) > 0 {
		c.list = x.filter(snap.use, true)
		if len(c.list) == 0 {
			c.list = x.filter(snap.use, false)
		}
		if len(c.list) == 0 && len(x.tried) > 0 {
			// The backups, and those in disgrace, lowest tier first.
			c.list = x.filter(snap.rest, true)
			if len(c.list) == 0 {
				c.list = x.filter(snap.shut, false)
			}
			c.list = c.list[:min(len(c.list), 1)]
		}
		if len(c.list) == 0 && len(x.tried) == 0 && len(snap.use) > 0 {
			c.err, c.why = x.allFull(snap.use), "all that may serve are full"
			return c
		}
	}
	switch {
	case len(c.list) == 0:
		c.err, c.why = ErrNoBackend, "no backend may serve"
	case len(c.list) == 1:
		c.entry, c.why = c.list[0], "the only one that may serve"
	case x.key != 0:
		c.entry, c.why = c.list[rendezvous(x.key, x.candidates(c, now), 1.25)], "by the client's key"
	}
	return c
}

// candidates are those of c as a policy sees them.
func (x *exchange) candidates(c choice, now time.Time) Candidates {
	return Candidates{now: now, list: c.list, stream: x.stream || x.mayStream}
}

// pick returns the backend for the next attempt, [ErrBusy] or what wraps it if
// those that would serve are full, or [ErrNoBackend].
func (x *exchange) pick(now time.Time) (*entry, error) {
	c := x.choose(now)
	if c.err != nil {
		return nil, c.err
	}
	if c.entry == nil {
		i := x.pool.opts.Policy.Pick(Query{Now: now, Rand: rand.Uint64(), Key: x.key, Request: x.req}, x.candidates(c, now))
		c.entry, c.why = c.list[i], "the policy's pick"
	}
	x.picked(c, now)
	return c.entry, nil
}

// serves reports whether e may serve, at now, a client that is bound to it.
func (s *snapshot) serves(e *entry, now time.Time) bool {
	mode := e.wanted()
	if mode == Drain && now.UnixNano() >= e.drained.Load() && !slices.Contains(s.use, e) {
		mode = Maintenance
	}
	return mode != Maintenance && e.verdict.State != health.Down && e.rank.Barred == ""
}

// filter leaves out who was tried, who is full, and, if careful, who is on
// trial and has its one request, or would get one that can't be repeated.
func (x *exchange) filter(use []*entry, careful bool) []*entry {
	out := x.scratch[:0]
	for _, e := range use {
		if slices.Contains(x.tried, e.member) || x.full(e) != nil {
			continue
		}
		if careful && e.verdict.Trial && (e.load.InFlight() > 0 || !x.repeatable()) {
			continue
		}
		out = append(out, e)
	}
	return out
}

// repeatable reports whether executing the request twice does no harm.
func (x *exchange) repeatable() bool {
	switch x.retry {
	case transit.RetryNever:
		return false
	case transit.RetryReplayable:
		return true
	}
	return safe(x.req.Method) || x.req.Header.Get("Idempotency-Key") != ""
}

// safe reports whether method is one of those that are sent again. "Safe" in
// RFC 9110, section 9.2.1, also has TRACE, which is for one connection.
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// anonymous reports whether nothing in the request says who asks, so that a
// repeat is the same question.
func (x *exchange) anonymous() bool {
	h := x.req.Header
	return (x.req.Method == "" || x.req.Method == http.MethodGet || x.req.Method == http.MethodHead) &&
		h["Cookie"] == nil && h["Authorization"] == nil
}

// gone reports whether the client is no longer there to answer.
func (x *exchange) gone() bool { return context.Cause(x.req.Context()) != nil }
