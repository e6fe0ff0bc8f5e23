package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

const (
	tryFor     = 5 * time.Second  // how long a change is tried against others
	retryAfter = "5"              // seconds, while the store is out
	refusedFor = 10 * time.Second // how long a refusal is told of
)

// A Manager gives each request its [Session]. It is safe for concurrent use.
type Manager struct {
	opts    Options
	carrier carrier
	name    string // what keeps its records apart from another manager's
	store   Store
	breaker *breaker.Breaker
	gates   gates
	stats   stats
	refused atomic.Int64 // when the store last refused a call, in nanoseconds since 1970
	// unreadable is the record that was last told to be so.
	unreadable atomic.Pointer[sighting]

	close  sync.Once
	closed error // written once by close
}

// New returns a Manager that keeps its sessions in store. It starts nothing
// and does not call the store. Managers may share a store if their
// [Options].Name differ.
func New(store Store, opts Options) (*Manager, error) {
	if given.Nil(store) {
		return nil, errors.New("session: no store: try session.Memory()")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	prefix := "__Host-"
	if opts.Domain != "" {
		prefix = "__Secure-"
	}
	m := &Manager{
		opts: opts,
		name: opts.Name,
		carrier: &cookies{
			secure: prefix + opts.Name, insecure: opts.Name, allowInsecure: opts.AllowInsecure,
			domain: opts.Domain, sameSite: opts.SameSite,
		},
		store: store,
	}
	if opts.Header != "" {
		m.carrier = header(opts.Header)
	}
	m.breaker = breaker.New(breaker.Options{
		Budget:  opts.Timeout,
		Failure: func(err error) bool { return !isAnswer(err) },
		Changed: m.noteOutage,
	})
	return m, nil
}

// noteOutage tells the operator in one line what many requests are told.
func (m *Manager) noteOutage(out bool) {
	if out {
		m.opts.Logger.Error("session: the store fails and is left alone, but for one call a second", "cookie", m.carrier.String())
	} else {
		m.opts.Logger.Info("session: the store answers again", "cookie", m.carrier.String())
	}
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Name = cmp.Or(o.Name, "sid")
	field := o.checkHeader() // which depends on what was left out
	o.Header = http.CanonicalHeaderKey(o.Header)
	o.SameSite = cmp.Or(o.SameSite, http.SameSiteLaxMode)
	o.Idle = cmp.Or(o.Idle, 30*time.Minute)
	o.Lifetime = cmp.Or(o.Lifetime, max(12*time.Hour, o.Idle))
	o.Remember = cmp.Or(o.Remember, max(30*24*time.Hour, o.Lifetime))
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o, errors.Join(field, o.checkCookie(), o.checkTimes())
}

// checkHeader says why the options are none of a session in a field.
func (o Options) checkHeader() error {
	switch {
	case o.Header == "":
		return nil
	case !isField(http.CanonicalHeaderKey(o.Header)):
		return fmt.Errorf("session: header %.80q: want Authorization, or a name that begins with X- and means nothing else, such as X-Session", o.Header)
	case o.Domain != "" || o.SameSite != 0:
		return fmt.Errorf("session: sessions in the field %s have no cookie: leave Domain and SameSite out", o.Header)
	}
	return nil
}

// checkCookie says which part of the cookie browsers or the manager would not take.
func (o Options) checkCookie() error {
	switch {
	case !isBase64URL(o.Name):
		return fmt.Errorf("session: name %q: want letters, digits, hyphens and underscores", o.Name)
	case strings.HasPrefix(o.Name, "__"):
		return fmt.Errorf("session: name %q: want it without a prefix, which is added", o.Name)
	case o.Domain != "" && !isHost(strings.TrimPrefix(o.Domain, ".")):
		return fmt.Errorf("session: domain %q: want a host's name without scheme, port and path, such as shop.example", o.Domain)
	case o.SameSite < http.SameSiteDefaultMode || o.SameSite > http.SameSiteNoneMode:
		return fmt.Errorf("session: there is no SameSite %d", o.SameSite)
	case o.SameSite == http.SameSiteNoneMode && o.AllowInsecure:
		return errors.New("session: browsers take SameSite=None only with Secure, which AllowInsecure leaves out")
	}
	return nil
}

func (o Options) checkTimes() error {
	switch {
	case o.Idle < time.Minute:
		return fmt.Errorf("session: idle timeout %v: want at least 1m", o.Idle)
	case o.Lifetime < o.Idle:
		return fmt.Errorf("session: lifetime %v is shorter than the idle timeout %v", o.Lifetime, o.Idle)
	case o.Remember < o.Lifetime:
		return fmt.Errorf("session: a session that is remembered would live for %v, others for %v: want it to be longer", o.Remember, o.Lifetime)
	case o.Timeout < 0:
		return fmt.Errorf("session: timeout %v: want a positive duration", o.Timeout)
	}
	return nil
}

// isHost reports whether s is a name as browsers compare it: a cookie whose
// Domain is anything else is dropped by them (RFC 6265, section 5.3).
func isHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || !isBase64URL(label) { // letters, digits, hyphens and underscores
			return false
		}
	}
	return true
}

// Close waits for calls to the store that were given up, and closes the store
// if it can be closed. No request may be served after it.
func (m *Manager) Close() error {
	m.close.Do(func() {
		if c, ok := m.store.(io.Closer); ok {
			m.closed = c.Close()
		}
	})
	return m.closed
}

// Handler returns next with a [Session] in each request's context. It costs no
// call to the store until the session is used.
//
// Before the first byte of the response the session's changes are saved; if
// that fails, or if the session was used and could not be loaded, the client
// gets an error instead of what next wrote: 503 with Retry-After while the
// store is out, 409 if the change lost against another's. Saving goes on when
// the client leaves, and is left out when next panics. Where the session was
// used, the response is made private, unless it says so itself.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return &handler{m, next}
}

// handler is what [Manager.Handler] returns; what it wraps stays visible.
type handler struct {
	m    *Manager
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{Context: r.Context(), w: w}
	r = r.WithContext(v)
	r.Header = h.m.carrier.clean(r)
	v.session.m, v.session.r = h.m, r
	defer v.session.release() // also of a handler that panics
	h.next.ServeHTTP((*writer)(v), r)
	v.finish()
}

// Wraps returns the next handler.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }

// Explain asks the next handler what it would do.
func (h *handler) Explain(r *http.Request) health.Decision { return health.Explain(h.next, r) }

// Healthy asks the next handler whether it could serve r.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Revoke ends all sessions of subject, on all machines: each ends when it is
// next loaded. It does not find out whether there are any.
func (m *Manager) Revoke(ctx context.Context, subject string) error {
	key := epochKey(subjectTag(m.name, subject))
	epoch := []byte(rand.Text())
	for {
		err := m.newEpoch(ctx, key, epoch)
		switch {
		case err == nil, errors.Is(err, ErrConflict), errors.Is(err, ErrExists):
			// Whoever came first wrote a new epoch after we began: that serves.
			m.stats.revoked.Add(1)
			return nil
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("session: revoking: %w", err)
		}
		// The old epoch expired between our two calls, which happens once.
	}
}

// newEpoch replaces a subject's epoch, and so ends the sessions that began in
// an earlier one.
func (m *Manager) newEpoch(ctx context.Context, key string, epoch []byte) error {
	old, err := m.load(ctx, key)
	if err != nil {
		return err
	}
	return m.call(ctx, func(ctx context.Context) error {
		// It must stand for as long as a session may that began before it.
		if old[0].Version == 0 {
			return m.store.Create(ctx, key, epoch, m.opts.Remember)
		}
		return m.store.Update(ctx, key, old[0], epoch, m.opts.Remember)
	})
}

// Report implements [health.Reporter]. The store's is a part of it, if it has one.
func (m *Manager) Report() health.Report {
	r := health.Report{Kind: "session", Name: m.name, State: health.Up, Metrics: m.stats.metrics()}
	r.Metrics = append(r.Metrics, health.Count("trips_total", "Trips of the breaker, each of which gives the store up for a moment.", m.breaker.Trips()))
	if store, ok := m.store.(health.Reporter); ok {
		part := store.Report()
		r.Parts = []health.Report{part}
		r.State, r.Why = part.State, part.Why
	}
	if time.Since(time.Unix(0, m.refused.Load())) < refusedFor {
		r.State, r.Why = health.Degraded, "the store refuses changes: requests that change a session get 503"
	}
	if m.breaker.Open() {
		r.State, r.Why = health.Down, "the store fails: requests that use a session get 503"
		if m.opts.Degrade != nil {
			r.Why = "the store fails: requests that use a session get 503, or an empty one"
		}
	}
	return r
}

// load returns the records of keys.
func (m *Manager) load(ctx context.Context, keys ...string) (records []Record, err error) {
	m.stats.loads.Add(1)
	err = m.call(ctx, func(ctx context.Context) (err error) {
		records, err = m.store.Load(ctx, keys...)
		if err == nil && len(records) != len(keys) {
			err = fmt.Errorf("session: store answered %d records for %d keys", len(records), len(keys))
		}
		return err
	})
	return records, err
}

// call makes one call to the store within its budget. What is not an answer is
// ErrUnavailable.
func (m *Manager) call(ctx context.Context, f func(context.Context) error) error {
	err := m.breaker.Do(ctx, f)
	if errors.Is(err, ErrFull) || errors.Is(err, ErrRefused) {
		m.stats.refused.Add(1)
		m.refused.Store(time.Now().UnixNano())
	}
	if err == nil || isAnswer(err) {
		return err
	}
	if ctx.Err() == nil {
		m.stats.failed.Add(1)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isAnswer reports whether a store's error is an answer of a working store.
func isAnswer(err error) bool {
	for _, answer := range [...]error{ErrNotFound, ErrConflict, ErrExists, ErrFull, ErrRefused, ErrUnreadable} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// noteUnreadable counts a record that cannot be read, and tells the operator,
// though not at every request of the same visitor.
func (m *Manager) noteUnreadable(key string, err error) {
	m.stats.unreadable.Add(1)
	now := time.Now()
	last := m.unreadable.Swap(&sighting{key, now})
	if last != nil && last.key == key && now.Sub(last.at) < time.Minute {
		m.unreadable.Store(last)
		return
	}
	m.opts.Logger.Error("session: a record cannot be read and counts as none; it is left as it is", "key", key, "error", err)
}

// sighting is when something was last seen that is not told at every sight.
type sighting struct {
	key string
	at  time.Time
}

// log tells the operator what no client is told: by the request's record or, since
// a session needs none and so makes none, at once. status is what the client got,
// 0 if that was what the handler wrote. That a client left is no news.
func (m *Manager) log(r *http.Request, status int, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	rec := transit.From(r.Context())
	rec.Fail(err)
	if _, above := transit.Lookup(r.Context()); !above {
		rec.Answered(status)
		transit.Log(m.opts.Logger, m.name, r, rec)
	}
}
