package session

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// StickyOptions for [NewSticky]. The zero value is valid.
type StickyOptions struct {
	// Name of the cookie; empty means "route". Pools that clients reach under
	// one host need different ones.
	Name string
	// Previous is the key used before, or nil: cookies made with it are still
	// read, none is made. So a new key can be brought in without losing pins.
	Previous []byte
	// Idle forgets a pin that was not used for so long; zero means 1 hour. The
	// cookie is renewed at most once in a quarter of it, so the pin may be
	// forgotten that much early.
	Idle time.Duration
	// Life forgets a pin at this age, so that a grown farm gets its share of
	// old clients too; zero means 8 hours.
	Life time.Duration
	// Always pins a client at its first response. Without it a client is
	// pinned when the application sets a cookie or the client posts something,
	// so that other responses can still be stored by a cache.
	Always bool
	// Key returns what to choose a backend by, by hash, for a client without a
	// pin: its own session's id, say, so that all tiers choose the same one. An
	// empty key leaves the choice free. nil means [ByCookie]("PHPSESSID").
	Key func(r *http.Request) string
}

// A Sticky keeps a client on the backend that served it, by a cookie which
// names the backend to us and to nobody else. It fits balancer.Options as
// Affinity, one Sticky for one pool, and is safe for concurrent use.
//
// The cookie is HttpOnly and lasts until the browser is closed. On HTTPS it is
// "SameSite=None; Secure", so that a return from a payment page reaches the
// server which sent the visitor there; on plain HTTP it is Lax.
type Sticky struct {
	opts  StickyOptions
	seal  *seal
	stats struct{ pinned, renewed, moved, refused, expired atomic.Uint64 }
}

// NewSticky returns a Sticky whose cookies are sealed with key: at least 32
// random bytes, the same on all tiers, kept over restarts.
func NewSticky(key []byte, opts StickyOptions) (*Sticky, error) {
	opts = opts.withDefaults()
	switch {
	case len(key) < minKey:
		return nil, fmt.Errorf("session: sticky key of %d bytes: want at least %d random ones", len(key), minKey)
	case opts.Previous != nil && len(opts.Previous) < minKey:
		return nil, fmt.Errorf("session: previous sticky key of %d bytes: want at least %d, or nil", len(opts.Previous), minKey)
	case !isBase64URL(opts.Name):
		return nil, fmt.Errorf("session: sticky cookie %q: want letters, digits, hyphens and underscores", opts.Name)
	case opts.Idle < 0 || opts.Life < opts.Idle:
		return nil, errors.New("session: sticky: want 0 < Idle <= Life")
	}
	return &Sticky{opts: opts, seal: newSeal(opts.Name, key, opts.Previous)}, nil
}

func (o StickyOptions) withDefaults() StickyOptions {
	o.Name = cmp.Or(o.Name, "route")
	o.Idle = cmp.Or(o.Idle, time.Hour)
	o.Life = cmp.Or(o.Life, 8*time.Hour)
	if o.Key == nil {
		o.Key = ByCookie("PHPSESSID")
	}
	return o
}

// ByCookie returns a key for [StickyOptions] that is the value of the
// application's cookie called name.
func ByCookie(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		value, n := fields.Cookie(r.Header, name)
		if n != 1 {
			return ""
		}
		return value
	}
}

// ByAddress is a key for [StickyOptions]: the client's address. It suits
// clients that keep no cookies; many visitors may share one address.
func ByAddress(r *http.Request) string { return transit.Client(r).String() }

// Choose returns the name of the backend that r's client is pinned to, or else
// a key to choose one by, or two empty strings. It counts nothing, as it is asked for
// explanations, too.
func (s *Sticky) Choose(r *http.Request) (name, key string) {
	if p, sent := s.read(r); sent != pinNone && sent != pinInvalid && p.valid(time.Now(), s.opts) {
		return p.backend, ""
	}
	return "", s.opts.Key(r)
}

// Strip removes the cookie, and any that PHP would take for it, from a request
// that goes to a backend.
func (s *Sticky) Strip(h http.Header) {
	fields.DropCookies(h, func(sent string) bool { return sent == s.opts.Name || fields.Poses(sent, s.opts.Name) })
}

// OwnsCookie reports whether name is the pin's: such a cookie says nothing
// about what an answer holds.
func (s *Sticky) OwnsCookie(name string) bool { return name == s.opts.Name }

// Bind pins r's client to the backend called name, which has answered with the
// header h, if that is due. An answer that pins is for one client: it becomes
// no-store.
func (s *Sticky) Bind(h http.Header, r *http.Request, name string) {
	old, sent := s.read(r)
	now := time.Now()
	s.count(sent == pinInvalid, &s.stats.refused)
	s.count(sent != pinNone && sent != pinInvalid && !old.valid(now, s.opts), &s.stats.expired)
	if crossSitePost(r, "") {
		// It may lack the cookie that the browser has, which ours would
		// overwrite.
		return
	}
	first := s.opts.Always || unsafeMethod(r.Method) || len(h["Set-Cookie"]) > 0
	p, due := s.bind(old, sent, now, name, first)
	if !due {
		return
	}
	secure := transit.Scheme(r) == "https"
	cookie := &http.Cookie{Name: s.opts.Name, Value: s.seal.close(p), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if secure {
		cookie.Secure, cookie.SameSite = true, http.SameSiteNoneMode
	}
	h.Add("Set-Cookie", cookie.String())
	fields.CacheControl(h, "no-store")
}

// bind returns the pin that the client should have, and whether that is to be
// said to it. first says that this response may pin a client that has none.
func (s *Sticky) bind(old pin, sent sent, now time.Time, name string, first bool) (p pin, due bool) {
	p = pin{backend: name, issued: now, seen: now}
	switch {
	case sent == pinNone:
		s.count(first, &s.stats.pinned)
		return p, first
	case sent == pinInvalid || !old.valid(now, s.opts):
		s.stats.pinned.Add(1)
		return p, true // it had one: it wants to stay somewhere
	case old.backend != name:
		s.stats.moved.Add(1)
		return p, true
	}
	p.issued = old.issued
	due = now.Sub(old.seen) >= s.opts.Idle/4 || sent == pinPrevious
	s.count(due, &s.stats.renewed)
	return p, due
}

func (s *Sticky) count(when bool, n *atomic.Uint64) {
	if when {
		n.Add(1)
	}
}

// Report implements [health.Reporter].
func (s *Sticky) Report() health.Report {
	return health.Report{Kind: "sticky", Name: s.opts.Name, State: health.Up, Metrics: []health.Metric{
		health.Count("clients_pinned_total", "Clients pinned to a backend.", s.stats.pinned.Load()),
		health.Count("pins_renewed_total", "Pins renewed.", s.stats.renewed.Load()),
		health.Count("clients_moved_total", "Clients pinned anew since another backend answered.", s.stats.moved.Load()),
		health.Count("cookies_refused_total", "Cookies that were forged, doubled or sealed with an unknown key.", s.stats.refused.Load()),
		health.Count("pins_expired_total", "Pins past their time.", s.stats.expired.Load()),
	}}
}

// sent says what a request brought.
type sent uint8

const (
	pinNone     sent = iota // no cookie of our name
	pinInvalid              // forged, or more than one
	pinPrevious             // made with the previous key
	pinGood                 // made with the key
)

func (s *Sticky) read(r *http.Request) (pin, sent) {
	value, n := fields.Cookie(r.Header, s.opts.Name)
	switch n {
	case 0:
		return pin{}, pinNone
	case 1:
		return s.seal.open(value)
	}
	return pin{}, pinInvalid // one of them was planted
}

// A pin is what the cookie says.
type pin struct {
	backend string
	issued  time.Time // when the client came to this backend
	seen    time.Time // when the cookie was made
}

func (p pin) valid(now time.Time, o StickyOptions) bool {
	return now.Sub(p.issued) < o.Life && now.Sub(p.seen) < o.Idle
}

// encode returns p as bytes: the two times in seconds, then the name.
func (p pin) encode() []byte {
	b := make([]byte, 8, 8+len(p.backend))
	binary.BigEndian.PutUint32(b, uint32(p.issued.Unix()))
	binary.BigEndian.PutUint32(b[4:], uint32(p.seen.Unix()))
	return append(b, p.backend...)
}

func decodePin(b []byte) (p pin, ok bool) {
	if len(b) <= 8 {
		return pin{}, false
	}
	return pin{
		backend: string(b[8:]),
		issued:  time.Unix(int64(binary.BigEndian.Uint32(b)), 0),
		seen:    time.Unix(int64(binary.BigEndian.Uint32(b[4:])), 0),
	}, true
}
