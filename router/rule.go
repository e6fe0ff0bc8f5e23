package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// DefaultMaxBody is the largest request body, in bytes, that a rule without
// MaxBody takes: 64 MiB.
const DefaultMaxBody = 64 << 20

// A Rule says which requests go to which handler, and on what terms.
type Rule struct {
	// Name is the rule's in errors, logs and explanations. It must be unique.
	Name string
	// When says which requests the rule takes; nil takes all that come so far.
	When Matcher
	// Use is middleware around To, the first outermost. What stands here and
	// not around To keeps To visible to whoever asks down the chain; further down
	// there is health.Wrap.
	Use []func(http.Handler) http.Handler
	// To answers.
	To http.Handler
	// Allow lists the clients that the rule answers; others get 403, and never
	// the next rule. Empty allows all.
	Allow []netip.Prefix
	// Timeouts is how long the backends may take.
	Timeouts Timeouts
	// Retry says which of the rule's requests may be sent to a second backend.
	Retry Retry
	// MaxBody is the largest request body in bytes; more is answered with 413.
	// Zero means DefaultMaxBody, negative no limit.
	MaxBody int64
	// Limit bounds how much clients may ask of the rule.
	Limit Limit
	// Streams says that the rule's answers last for as long as their clients
	// want: long polls, and streams of other types than text/event-stream,
	// which with upgraded connections is known by itself. A pool counts them by
	// its limit of streams, not by that of requests, and reads nothing of them
	// ahead; Timeouts hold for them.
	Streams bool
}

// Timeouts are a rule's limits on its backends. Zero leaves a limit to the
// pool, negative means none.
type Timeouts struct {
	Header time.Duration // until the response begins
	Idle   time.Duration // longest pause inside the response
	Total  time.Duration // until the response ends
}

// Retry says which requests may be sent to a second backend after a first one
// has failed.
type Retry uint8

const (
	// RetryDefault leaves it to the pool, which goes by method and by what went
	// wrong.
	RetryDefault Retry = iota
	// RetryNever is for payments and cron jobs: only what provably was not
	// sent is sent elsewhere.
	RetryNever
	// RetryReplayable says that the application tolerates repeats, whatever the
	// method.
	RetryReplayable
)

// ErrRules is what [New] and [Router.Update] wrap when they refuse a table.
var ErrRules = errors.New("router: unusable rules")

// RuleName returns the name of the rule that has taken the request of ctx, empty if
// none has: for middleware in Use, handlers and transports. Of routers behind one
// another it is that which was asked last. A cache's fetch has it too.
func RuleName(ctx context.Context) string {
	if rec, ok := transit.Lookup(ctx); ok {
		return rec.Rule
	}
	return ""
}

// compiled is a rule ready to be asked. It is immutable but for its counters.
type compiled struct {
	Rule
	words   string       // its condition
	handler http.Handler // Use around To
	terms   transit.Terms
	stats   *ruleStats
	limiter *limiter // nil without a Limit
	run     *run     // which it begins; nil: none
}

func compileRule(r Rule) (*compiled, error) {
	r.Use = slices.Clone(r.Use)
	c := &compiled{Rule: r, words: "everything", handler: r.To}
	switch {
	case r.Name == "":
		return nil, errors.New("a rule has no name")
	case r.To == nil:
		return nil, fmt.Errorf("rule %q has no To", r.Name)
	case given.Typed(r.When):
		return nil, fmt.Errorf("rule %q: When is a nil %T: want a matcher, or no When for everything", r.Name, r.When)
	case r.Retry > RetryReplayable:
		return nil, fmt.Errorf("rule %q: no such Retry: %d", r.Name, r.Retry)
	}
	if err := r.Limit.check(); err != nil {
		return nil, fmt.Errorf("rule %q: %w", r.Name, err)
	}
	if r.When != nil {
		if err := r.When.check(); err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.Name, err)
		}
		c.words = r.When.String()
	}
	if err := checkChain(r.To, r.When, given.Seen{}); err != nil {
		return nil, fmt.Errorf("rule %q: %w", r.Name, err)
	}
	var err error
	if c.Allow, err = given.Prefixes(r.Allow); err != nil {
		return nil, fmt.Errorf("rule %q: Allow holds an invalid prefix: %w", r.Name, err)
	}
	for _, use := range slices.Backward(r.Use) {
		if use == nil {
			return nil, fmt.Errorf("rule %q: Use holds a nil middleware", r.Name)
		}
		outer := use(c.handler)
		if h, ok := outer.(*rewriting); ok { // which says itself what it does
			if h.err != nil {
				return nil, fmt.Errorf("rule %q: %w", r.Name, h.err)
			}
			c.handler = outer
			continue
		}
		// What it hides is shown to who asks what would be done with a request.
		if c.handler = health.Wrap(outer, c.handler); c.handler == nil {
			return nil, fmt.Errorf("rule %q: a middleware in Use returned nil", r.Name)
		}
	}
	c.MaxBody = cmp.Or(r.MaxBody, DefaultMaxBody)
	c.terms = transit.Terms{Header: r.Timeouts.Header, Idle: r.Timeouts.Idle, Total: r.Timeouts.Total, Retry: transit.Retry(r.Retry), Streams: r.Streams}
	return c, nil
}

// matches reports whether the rule takes the request, seen as v.
func (c *compiled) matches(v *view) bool { return c.When == nil || c.When.match(v) }

// allowed is the condition that Allow is, if it is not empty.
func (c *compiled) allowed() clientMatcher { return clientMatcher{prefixes: c.Allow} }

// LogValue implements [slog.LogValuer]: the rule's name.
func (c *compiled) LogValue() slog.Value { return slog.StringValue(c.Name) }
