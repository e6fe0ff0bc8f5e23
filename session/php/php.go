// Package php looks into the sessions that PHP keeps on Redis or memcached, so
// that a rule of the tier can tell a visitor who is logged in or has something
// in the cart from one whom everybody's pages suit.
//
//	visitors, err := php.New(php.Magento(client), php.Options{})
//	member := router.Test("member", visitors.Has("customer_base/customer_id", "checkout/quote_id"))
//
// It reads and never writes: neither a lock nor a session's time is touched.
// What it cannot read counts as logged in: a visitor who gets a page of their
// own without need costs a little time, the other mistake shows somebody
// else's. So it must look where PHP keeps its sessions: under the same prefix,
// on all servers of session.save_path, and if some are elsewhere,
// [Options].Elsewhere says so. A session that is nowhere is nobody's.
package php

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/fields"
)

// ErrEncoding means that a session is there in a form that is not understood.
var ErrEncoding = errors.New("php: session in an unknown encoding")

// ErrNotFound is what a [Source] answers for a session that is not there.
var ErrNotFound = errors.New("php: no such session")

// NoPrefix says of a prefix that it is empty, since an empty string means the
// one that PHP has unless configured.
const NoPrefix = "\x00"

// A Source knows where an installation of PHP keeps its sessions: [Redis],
// [RedisServers], [Magento], [Memcached] or [MemcachedPrefix]. It is safe for
// concurrent use.
type Source interface {
	// Read returns the session's data as session_encode made it, ErrNotFound, or
	// ErrEncoding for one that is there and cannot be read. Any other error is
	// the store's, and many of them stop the asking for a while. Read need not
	// heed ctx, but must end some time.
	Read(ctx context.Context, id string) ([]byte, error)
}

// Options for [New]. The zero value is valid.
type Options struct {
	// Cookie is the name of PHP's session cookie (session.name); empty means
	// "PHPSESSID". A cookie that PHP takes for it is one: PHP makes an
	// underscore of a dot, a space and an opening bracket.
	Cookie string
	// Elsewhere says that sessions may also be where the source does not look,
	// such as in files, or in another store during a move. A visitor whose
	// session is not found then counts as logged in.
	Elsewhere bool
	// Timeout bounds a look; zero means 100 ms. When it is over the visitor
	// counts as logged in.
	Timeout time.Duration
	// Logger gets what kept sessions from being read, once a minute: one line
	// for sessions, and one for the store. nil means [slog.Default].
	Logger *slog.Logger
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Cookie = cmp.Or(o.Cookie, "PHPSESSID")
	o.Timeout = cmp.Or(o.Timeout, 100*time.Millisecond)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Timeout < 0 {
		return o, fmt.Errorf("php: timeout %v: want a positive duration", o.Timeout)
	}
	return o, nil
}

// A Reader looks into sessions. It is safe for concurrent use.
type Reader struct {
	source  Source
	opts    Options
	breaker *breaker.Breaker
	leash   *breaker.Leash
	name    string          // of the cookie, as PHP reads it
	warned  [2]atomic.Int64 // when it was logged that a session, or the store, cannot be read; in seconds since 1970
	lost    atomic.Bool     // it was logged that none was ever found
	tests   sync.Map        // by paths: what Has returned for them
	stats   struct{ looks, absent, unread, found atomic.Uint64 }
}

// New returns a Reader of source's sessions. It starts nothing.
func New(source Source, opts Options) (*Reader, error) {
	if source == nil {
		return nil, errors.New("php: no source: want php.Redis, php.Magento or php.Memcached")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Reader{
		source: source,
		opts:   opts,
		name:   fields.PHPName(opts.Cookie),
		breaker: breaker.New(breaker.Options{Budget: opts.Timeout, Failure: func(err error) bool {
			// One visitor's session says nothing about the store.
			return !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrEncoding)
		}}),
		leash: breaker.NewLeash(256),
	}, nil
}

// Close waits for looks that were given up, and closes what the source owns. It
// does not close a caller's client.
func (p *Reader) Close() error {
	err := p.leash.Close()
	if c, ok := p.source.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Has returns a test for a router's rule: whether the visitor's session holds
// something at one of the paths. A path leads from a session variable into
// arrays and objects, names separated by slashes: "customer_base/customer_id".
// What PHP calls empty (null, false, 0, "", "0", an empty array) is nothing.
//
// The test is also true if the session cannot be read. For the same paths it is
// the same function value: a router asks it once a request.
func (p *Reader) Has(paths ...string) func(*http.Request) bool {
	paths = append([]string(nil), paths...)
	f, _ := p.tests.LoadOrStore(strings.Join(paths, "\x00"), func(r *http.Request) bool {
		v, err := p.Peek(r)
		if err != nil {
			return true
		}
		for _, path := range paths {
			if v.Has(path) {
				return true
			}
		}
		return false
	})
	return f.(func(*http.Request) bool)
}

// Peek returns the variables of r's session: none for a visitor without one. An
// error means that there may be some: it is ErrEncoding, the store's, or with
// [Options].Elsewhere ErrNotFound.
func (p *Reader) Peek(r *http.Request) (Values, error) {
	id, err := p.sessionID(r)
	if id == "" || err != nil {
		return nil, err
	}
	p.stats.looks.Add(1)
	var data []byte
	err = p.breaker.Do(r.Context(), func(ctx context.Context) (err error) {
		data, err = breaker.Call(ctx, p.leash, func() ([]byte, error) { return p.source.Read(ctx, id) })
		return err
	})
	if errors.Is(err, ErrNotFound) {
		p.noteAbsent()
		if p.opts.Elsewhere {
			return nil, err
		}
		return nil, nil
	}
	var v Values
	if err == nil {
		v, err = Decode(data)
	}
	if err != nil {
		p.stats.unread.Add(1)
		p.warn(err)
		return nil, err
	}
	p.stats.found.Add(1)
	return v, nil
}

// enough is how many sessions are asked for before it is strange that none was
// there.
const enough = 50

// noteAbsent counts a session that was not there, and tells the operator if
// none ever was: then it is likely that this is not the place.
func (p *Reader) noteAbsent() {
	p.stats.absent.Add(1)
	if p.nowhere() && p.lost.CompareAndSwap(false, true) {
		p.opts.Logger.Warn("php: none of the sessions asked for was there: is it where session.save_path says, under PHP's prefix?",
			"cookie", p.opts.Cookie, "asked", p.stats.looks.Load())
	}
}

// nowhere reports whether no session was ever found, of many.
func (p *Reader) nowhere() bool {
	return p.stats.absent.Load() >= enough && p.stats.found.Load() == 0 && !p.opts.Elsewhere
}

// warn logs a trouble unless one of its kind was logged a moment ago. No two
// texts need be the same: they name the session's first bytes, or a port.
func (p *Reader) warn(err error) {
	kind := 1
	if errors.Is(err, ErrEncoding) {
		kind = 0
	}
	now, last := time.Now().Unix(), p.warned[kind].Load()
	if now-last >= 60 && p.warned[kind].CompareAndSwap(last, now) {
		p.opts.Logger.Warn("php: session not read, its visitor counts as logged in", "error", err)
	}
}

// Report implements [health.Reporter].
func (p *Reader) Report() health.Report {
	r := health.Report{Kind: "php_session", Name: p.opts.Cookie, State: health.Up, Metrics: []health.Metric{
		health.Count("lookups_total", "Lookups of sessions.", p.stats.looks.Load()),
		health.Count("sessions_found_total", "Sessions that were there and could be read.", p.stats.found.Load()),
		health.Count("sessions_absent_total", "Sessions that were not there.", p.stats.absent.Load()),
		health.Count("sessions_unreadable_total", "Sessions that could not be read.", p.stats.unread.Load()),
	}}
	if p.nowhere() {
		r.State, r.Why = health.Degraded, "none of the sessions asked for was there, so nobody counts as logged in"
	}
	if p.breaker.Open() {
		r.State, r.Why = health.Degraded, "the store fails: all visitors with a session count as logged in"
	}
	return r
}

// sessionID returns the id that r carries, "" if none. More than one, or one
// that PHP would not have made, is an ErrEncoding: who sends it may still be
// known to PHP.
func (p *Reader) sessionID(r *http.Request) (id string, err error) {
	n, cookie := 0, p.opts.Cookie
	for name, pair := range fields.Cookies(r.Header) {
		if name == cookie || name == p.name || fields.Poses(name, p.name) {
			n++
			_, sent, _ := strings.Cut(pair, "=")
			id, err = url.QueryUnescape(sent) // as PHP reads and writes it: "%2C" for a comma
		}
	}
	switch {
	case n == 0:
		return "", nil
	case n > 1:
		return "", fmt.Errorf("%w: %d cookies called %s", ErrEncoding, n, cookie)
	case err != nil || !validID(id):
		return "", fmt.Errorf("%w: an id that PHP does not make", ErrEncoding)
	}
	return id, nil
}

// validID reports whether PHP makes such ids: 22 to 256 of its characters. It
// also keeps what a visitor sends from being anything but a key in the store.
func validID(id string) bool {
	if len(id) < 22 || len(id) > 256 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if c != '-' && c != ',' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
