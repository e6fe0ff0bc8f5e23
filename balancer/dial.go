package balancer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/balancer/internal/relay"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// DialContext connects to a backend that the pool picks. network and address
// are not looked at: they let the method stand where a client asks for such a
// function, as [mysql.RegisterDialContext] and pgx do.
//
// The connection is a [*net.TCPConn] but for its Close, a [syscall.Conn] too,
// so that drivers can look whether it is alive; with a tls backend it is a
// [*tls.Conn]. It counts as in hand until it is closed, and is cut like those
// of [Pool.ServeTCP]; what is read then fails with [ErrMoved].
//
// [mysql.RegisterDialContext]: https://pkg.go.dev/github.com/go-sql-driver/mysql#RegisterDialContext
func (p *Pool) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	l, err := p.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	raw := l.conn
	if !l.onCut(func(error) { relay.Abort(raw) }) {
		relay.Abort(raw)
	}
	if secure, ok := raw.(*tls.Conn); ok {
		return &dialedTLS{secure, l}, nil
	}
	if plain, ok := raw.(*net.TCPConn); ok {
		return &dialedTCP{plain, l}, nil
	}
	return &dialed{raw, l}, nil
}

type dialedTCP struct {
	*net.TCPConn
	link *link
}

func (c *dialedTCP) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialedTCP) Write(p []byte) (int, error) {
	c.link.write()
	return c.TCPConn.Write(p)
}

func (c *dialedTCP) Close() error {
	c.link.end()
	return c.TCPConn.Close()
}

// ReadFrom implements [io.ReaderFrom], as the connection itself does.
func (c *dialedTCP) ReadFrom(r io.Reader) (int64, error) {
	c.link.write()
	return c.TCPConn.ReadFrom(r)
}

type dialedTLS struct {
	*tls.Conn
	link *link
}

func (c *dialedTLS) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialedTLS) Write(p []byte) (int, error) {
	c.link.write()
	return c.Conn.Write(p)
}

func (c *dialedTLS) Close() error {
	c.link.end()
	return c.Conn.Close()
}

type dialed struct {
	net.Conn
	link *link
}

func (c *dialed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialed) Write(p []byte) (int, error) {
	c.link.write()
	return c.Conn.Write(p)
}

func (c *dialed) Close() error {
	c.link.end()
	return c.Conn.Close()
}

// A link is a connection to a backend that counts as in hand.
type link struct {
	pool   *Pool
	entry  *entry
	ticket load.Ticket
	held   holding
	start  time.Time
	conn   net.Conn
	once   sync.Once
	shed   atomic.Bool // the backend hung up at once, which has been told
	heard  atomic.Bool // of DialContext: something was read
	wrote  atomic.Bool // likewise, written

	mu    sync.Mutex
	proof *time.Timer // guarded by mu: tells that it has lasted; nil: nobody needs to know
	cutBy func(error) // guarded by mu: closes it
	why   error       // guarded by mu: that it was cut
}

// carried are the connections in hand.
type carried struct {
	conns   atomic.Int64 // of ServeTCP
	refused atomic.Uint64
	cut     atomic.Uint64

	// What strangers can have written, by kind, so that one does not hide
	// another.
	unserved, ungreeted, broken, failed, exhausted transit.Lines

	mu    sync.Mutex
	links map[*link]struct{} // guarded by mu
}

// fewLines is how many lines of a kind may come at once; then it is one a
// second.
const fewLines = 5

func (c *carried) init() {
	for _, l := range []*transit.Lines{&c.ungreeted, &c.broken, &c.failed} {
		l.Burst = fewLines
	}
}

// connect picks a backend and connects to it, and to another if it does not
// accept. client is nil for DialContext.
func (p *Pool) connect(ctx context.Context, client net.Conn) (*link, error) {
	if p.closing.Err() != nil {
		return nil, ErrClosed
	}
	c := connecting{pool: p, client: client}
	if client != nil {
		if host, _, err := net.SplitHostPort(remote(client)); err == nil {
			c.key = hashString(host)
			c.addr, _ = netip.ParseAddr(host) // else it counts in all alone
		}
	}
	l, err := c.acquire(ctx)
	for err == nil {
		failed := c.dial(ctx, l)
		if failed == nil {
			return l, nil
		}
		l.free()
		failed = l.entry.fail(failed)
		if c.before != nil {
			failed = fmt.Errorf("%w (before: %v)", failed, c.before)
		}
		if ctx.Err() != nil {
			return nil, failed
		}
		c.before = failed
		if l, err = c.take(); err != nil {
			return nil, failed
		}
		p.retried.Add(1)
	}
	return nil, err
}

// connecting is the search for a backend that accepts a connection.
type connecting struct {
	pool   *Pool
	client net.Conn
	key    uint64
	addr   netip.Addr // whose share of the places it takes
	tried  []*member
	before error // of the attempt before
}

// acquire takes a place at a backend, and waits in the queue if all are full.
func (c *connecting) acquire(ctx context.Context) (*link, error) {
	p := c.pool
	l, err := c.take()
	if !worthAWait(err) {
		return l, err
	}
	full := p.queue.wait(ctx, p.closing.Done(), p.opts.Limit, transit.Network(c.addr), func() bool { return !c.places().over(p.snap.Load().use, 0) }, func() error {
		l, err = c.take()
		return err
	})
	return l, cmp.Or(full, err)
}

// take picks a backend that was not tried and takes a place there.
func (c *connecting) take() (*link, error) {
	p := c.pool
	limit := p.opts.Limit.InFlight
	for {
		now := time.Now()
		snap := p.current(now)
		e, err := c.pick(snap, now)
		if err != nil {
			return nil, err
		}
		l := &link{pool: p, entry: e, start: now}
		if limit == 0 {
			e.load.Start(&l.ticket, now)
		} else if !e.load.TryStart(&l.ticket, now, limit) {
			continue // another was faster
		}
		if due := l.held.take(c.places(), snap.use, e); !due && len(c.tried) == 0 {
			l.free()
			continue
		}
		p.carried.add(l)
		// From here on it is cut when its backend must no longer be used. If
		// that was decided since the pick, it has not been told.
		if later := p.snap.Load(); later != snap && later.leaves(e.member) != nil {
			l.free()
			continue
		}
		c.tried = append(c.tried, e.member)
		e.requests.Add(1)
		return l, nil
	}
}

func (c *connecting) places() places { return c.pool.places(fair.Of(c.addr), false) }

// pick returns the backend for the next attempt, [ErrBusy] or errShare if those
// that would serve are full, or [ErrNoBackend].
func (c *connecting) pick(snap *snapshot, now time.Time) (*entry, error) {
	limit := c.pool.opts.Limit.InFlight
	full, own := false, false
	if len(c.tried) == 0 && c.places().over(snap.use, 0) {
		return nil, errShare
	}
	var scratch [8]*entry
	filter := func(list []*entry, careful bool) []*entry {
		out := scratch[:0]
		for _, e := range list {
			switch {
			case slices.Contains(c.tried, e.member), e.Handler != nil:
			case limit > 0 && e.load.InFlight() >= limit:
				full = true
			case len(c.tried) == 0 && c.places().overAt(e, 0):
				own = true
			case careful && e.verdict.Trial && e.load.InFlight() > 0:
			case careful && e.avoid.Load() > now.UnixNano():
			default:
				out = append(out, e)
			}
		}
		return out
	}
	list := filter(snap.use, true)
	if len(list) == 0 {
		list = filter(snap.use, false)
	}
	if len(list) == 0 && full {
		return nil, ErrBusy
	}
	if len(list) == 0 && own {
		return nil, errShare
	}
	if len(list) == 0 && len(c.tried) > 0 {
		// The backups, and those in disgrace, lowest tier first.
		if list = filter(snap.rest, true); len(list) == 0 {
			list = filter(snap.shut, false)
		}
		list = list[:min(len(list), 1)]
	}
	switch len(list) {
	case 0:
		return nil, snap.none()
	case 1:
		return list[0], nil
	}
	q := Query{Now: now, Rand: rand.Uint64(), Key: c.key}
	return list[c.pool.opts.Policy.Pick(q, Candidates{now: now, list: list})], nil
}

// dial connects l to its backend and tells the tracker how that went.
func (c *connecting) dial(ctx context.Context, l *link) error {
	p, caller := c.pool, ctx
	if d := p.opts.Timeouts.Dial; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	target := l.entry.target
	if p.opts.TCP.Announce != 0 {
		target.Preface = p.opts.TCP.Announce.header(c.client)
	}
	conn, err := target.Dial(ctx, &p.dialer)
	now := time.Now()
	switch {
	case err == nil:
		l.conn = conn
		l.ticket.Header(now, false)
		switch v := l.entry.verdict; {
		case v.Trial:
			l.prove() // to accept is easy
		case v.State == health.Down, v.State == health.Unknown:
			p.observe(l.entry, now, nil, health.Answered)
		}
		return nil
	case caller.Err() != nil:
		l.ticket.Leave() // nobody waits for it any more
	case health.Unreachable(err):
		l.ticket.Header(now, true)
		p.missed(l.entry, now)
		p.observe(l.entry, now, nil, health.Refused)
	default:
		l.ticket.Header(now, true)
		p.observe(l.entry, now, nil, health.Failed)
	}
	return err
}

// onCut says how the link is closed from outside. It reports false if that
// has been asked for already.
func (l *link) onCut(f func(error)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutBy = f
	return l.why == nil
}

// cut closes the link because its backend must no longer be used. It does not
// block.
func (l *link) cut(why error) {
	l.mu.Lock()
	f := l.cutBy
	first := l.why == nil
	if first {
		l.why = why
	}
	l.mu.Unlock()
	if first {
		l.pool.carried.cut.Add(1)
		if f != nil {
			f(why)
		}
	}
}

// cause returns why the link was cut, or nil.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// read takes note of what a read of DialContext's brought, and puts the reason
// of a cut in the place of the error that it led to. An error may be the first
// sign of more.
func (l *link) read(n int, err error) error {
	if n > 0 && !l.heard.Load() {
		l.heard.Store(true)
	}
	if err == nil {
		return nil
	}
	l.pool.doubt(l.entry)
	if (err == io.EOF || errors.Is(err, syscall.ECONNRESET)) && (!l.heard.Load() || !l.wrote.Load()) {
		l.hungUp(time.Now())
	}
	return cmp.Or(l.cause(), err)
}

// write takes note that something is written.
func (l *link) write() {
	if !l.wrote.Load() {
		l.wrote.Store(true)
	}
}

// end is the end of DialContext's connection by whoever uses it, before it is
// closed.
func (l *link) end() {
	heard, wrote := l.heard.Load(), l.wrote.Load()
	switch {
	case !heard && !wrote:
		l.free() // it says nothing
		return
	case !wrote && relay.Ended(l.conn): // it was told why it is not served
		l.hungUp(time.Now())
	}
	l.finish(health.Answered)
}

// soon is within what time a backend that ends a connection by itself may not
// have served it at all, and how long one must last to prove the contrary.
const soon = time.Second

// hungUp takes note that the backend ended the connection by itself, before its
// client had said a word, or without one of its own, or with a reset. If that
// was soon, it looks idle and fast, and serves nobody: for a while, longer each
// time, it gets nothing new where another is left. That this is how its
// protocol goes is for the others to show, who then do no better.
func (l *link) hungUp(now time.Time) {
	if now.Sub(l.start) >= soon || l.cause() != nil || l.shed.Swap(true) {
		return
	}
	e := l.entry
	times := e.shed.Add(1) - 1
	e.avoid.Store(now.Add(soon << min(times, 4)).UnixNano())
	l.pool.judge(e, now, nil, health.Failed, true)
}

// prove tells the tracker once the connection has lasted.
func (l *link) prove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proof = time.AfterFunc(soon, func() { l.pool.observe(l.entry, time.Now(), nil, health.Answered) })
}

// finish tells how the link ended, and gives back its place.
func (l *link) finish(o health.Outcome) {
	l.once.Do(func() {
		l.release()
		if l.cause() != nil || l.shed.Load() {
			return
		}
		if o == health.Answered && l.entry.shed.Load() != 0 {
			l.entry.shed.Store(0)
		}
		l.pool.observe(l.entry, time.Now(), nil, o)
	})
}

// free gives back the place of a link that tells nothing of its backend.
func (l *link) free() { l.once.Do(l.release) }

func (l *link) release() {
	l.mu.Lock()
	if l.proof != nil {
		l.proof.Stop()
	}
	l.mu.Unlock()
	l.pool.carried.remove(l)
	l.ticket.Done()
	l.held.give()
	if l.pool.opts.Limit.InFlight > 0 {
		l.pool.queue.wake()
	}
}

func (c *carried) add(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links == nil {
		c.links = make(map[*link]struct{})
	}
	c.links[l] = struct{}{}
}

func (c *carried) remove(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
}

// cutLeaving cuts the links whose backends snap no longer lets be used.
func (c *carried) cutLeaving(snap *snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		if why := snap.leaves(l.entry.member); why != nil {
			l.cut(why)
		}
	}
}

// leaves returns why connections to m must end, or nil. Those to a backend
// that was removed, drains, or refuses new ones may go on.
func (s *snapshot) leaves(m *member) error {
	for _, e := range s.others {
		switch {
		case e.member != m:
		case slices.Contains(s.kept, e) && !e.rank.Fenced:
			if e.verdict.State == health.Down && e.verdict.Until.IsZero() {
				return fmt.Errorf("%w: %s %s", ErrMoved, e.Name, e.verdict.Why)
			}
			return nil
		default:
			return fmt.Errorf("%w: %s is now %s", ErrMoved, e.Name, cmp.Or(e.rank.Barred, e.rank.Role, "of another kind"))
		}
	}
	i := slices.IndexFunc(s.all, func(e *entry) bool { return e.member == m })
	if i < 0 {
		return nil
	}
	e := s.all[i]
	if e.rank.Fenced {
		return fmt.Errorf("%w: %s is %s", ErrMoved, e.Name, e.rank.Barred)
	}
	if e.verdict.State != health.Down || !e.verdict.Until.IsZero() || slices.Contains(s.use, e) {
		return nil
	}
	return fmt.Errorf("%w: %s %s", ErrMoved, e.Name, e.verdict.Why)
}

// notHTTP is the way of HTTP requests to a backend for connections.
type notHTTP struct{}

func (notHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%w: it takes connections, not HTTP requests", ErrProtocol)
}

// newDialer returns what connects to backends.
func newDialer(o TCP) net.Dialer {
	return net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: o.KeepAlive > 0, Idle: o.KeepAlive, Interval: o.KeepAlive / 3, Count: 3,
	}, KeepAlive: min(o.KeepAlive, 0)}
}
