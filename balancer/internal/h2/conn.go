package h2

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// The limits of a connection.
const (
	// streamWindow is what may come of a body that nobody reads, and so what each request
	// may have this side hold.
	streamWindow = 256 << 10
	mostStreams  = 100 // at once, however many the backend allows
	// connWindow is never what a body waits for: whoever is slow holds up nobody else.
	connWindow = (mostStreams + 28) * streamWindow
	lastID     = 1 << 30 // of a stream; a connection that gets there is replaced

	pingAfter = 10 * time.Second // of silence, while something is asked
	pingWait  = 10 * time.Second // for any frame, after that
	// pingPause is between two, if no answer or part of one has come meanwhile: grpc-go
	// takes those who ask more often than every five minutes for enemies.
	pingPause  = 5*time.Minute + 10*time.Second
	blockWait  = 15 * time.Second       // from the first to the last frame of a header
	writeStall = 30 * time.Second       // for each write
	grace      = 100 * time.Millisecond // to read what a backend has said that takes nothing any more
	orphanWait = 10 * time.Second       // for the end of an answer of which all that matters has come
)

// A conn is one connection. Its reader is a goroutine that ends with it; whoever has
// something to say leaves that in out, which a goroutine writes that lives as long as there
// is something.
type conn struct {
	owner *Transport
	nc    net.Conn
	raw   syscall.RawConn // nil where there is no socket
	born  time.Time

	// What is the reader's.
	in     http1.Buffer
	fields *hpack.Decoder
	block  block
	greet  bool // the backend's first SETTINGS have come

	dialing *dialing  // for which it was made; nil: for one call only
	known   sync.Once // dialing is over

	mu      sync.Mutex
	streams map[uint32]*stream // guarded by mu: those that have not ended on both sides
	next    uint32             // guarded by mu: the next stream
	leaving bool               // guarded by mu: it takes no more requests, and closes with its last
	broken  error              // guarded by mu: why it has ended
	account http2.Account      // guarded by mu
	stray   int64              // guarded by mu: what may still come of the bodies of streams that were given up

	out      []byte    // guarded by mu: frames that are to be written
	spare    []byte    // guarded by mu: memory for them
	starting []*stream // guarded by mu: whose HEADERS are in out
	writing  bool      // guarded by mu
	closing  bool      // guarded by mu: it is closed once out is written
	deaf     error     // guarded by mu: why the backend takes nothing more; nil: it does

	most    uint32       // guarded by mu: streams at once: one before the backend has said how many
	window  http2.Window // guarded by mu: of all bodies that are sent
	initial int32        // guarded by mu: window that a stream begins with
	frame   int          // guarded by mu: bytes that the backend takes in one
	intake  http2.Intake // guarded by mu: of all bodies that come

	frames uint64      // guarded by mu: how many have come
	heard  time.Time   // guarded by mu: when the latest came
	spoke  time.Time   // guarded by mu: when the latest of an answer did
	pinged time.Time   // guarded by mu: when a PING was sent last; zero: never
	waits  bool        // guarded by mu: for any frame, since then
	begun  time.Time   // guarded by mu: when the block began that is not whole; zero: there is none
	idle   time.Time   // guarded by mu: since when nothing is asked
	timer  *time.Timer // guarded by mu: comes for tick
	due    time.Time   // guarded by mu: when
}

func newConn(t *Transport, nc net.Conn, d *dialing) *conn {
	now := time.Now()
	c := &conn{
		owner: t, nc: nc, dialing: d, born: now, streams: make(map[uint32]*stream), next: 1, most: 1,
		window: http2.MinWindow, initial: http2.MinWindow, frame: http2.MinFrame,
		intake: http2.NewIntake(connWindow), heard: now, spoke: now, idle: now,
	}
	socket := nc
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		socket = t.NetConn()
	}
	if sc, ok := socket.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn() // without it nobody looks
	}
	c.in.Reset(nc)
	c.fields = hpack.NewDecoder(tableSize, c.field)
	c.fields.SetMaxStringLength(http1.MaxHeader)
	b := append(c.out, http2.Preface...)
	b = http2.AppendSettings(b,
		http2.Setting{ID: x.SettingEnablePush, Value: 0},
		http2.Setting{ID: x.SettingInitialWindowSize, Value: streamWindow},
		http2.Setting{ID: x.SettingMaxHeaderListSize, Value: http1.MaxHeader},
	)
	c.out = http2.AppendWindowUpdate(b, 0, connWindow-http2.MinWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = now.Add(http1.KeepIdle)
	c.timer = time.AfterFunc(http1.KeepIdle, c.tick)
	go c.read() // until the connection is closed
	return c
}

// settled says to those who wait that it is known how many the backend takes at once, or
// that it is not going to be.
func (c *conn) settled() {
	c.known.Do(func() {
		if c.dialing != nil {
			c.owner.dialed(c.dialing)
		}
	})
}

// open begins the call's stream, whose fields are in block: nil if there is no place. A
// connection for one call alone takes no other.
func (c *conn) open(call *http1.Call, block []byte, reused, alone bool) *stream {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil || c.leaving || len(c.streams) >= int(c.most) {
		return nil
	}
	if len(c.streams) == 0 { // what was silent while nothing was asked is not
		c.heard, c.waits = now, false
		c.wakeLocked(now, pingAfter)
	}
	s := &stream{c: c, id: c.next, call: call, reused: reused, window: http2.Window(c.initial), intake: http2.NewIntake(streamWindow), seen: c.frames}
	s.cond.L = &c.mu
	c.next += 2
	c.leaving = alone || c.next >= lastID
	c.streams[s.id] = s
	s.sent = call.Body == nil
	c.out = http2.AppendHeaders(c.out, s.id, block, s.sent, c.frame)
	c.starting = append(c.starting, s)
	c.flushLocked()
	return s
}

// over reports whether the connection takes no more requests. One that is old takes none,
// so that a changed address is noticed.
func (c *conn) over(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.born) >= http1.MaxAge {
		c.leaveLocked()
	}
	return c.leaving || c.broken != nil
}

// stale reports whether the connection has idled for so long that what must not be executed
// twice had better not be sent on it.
func (c *conn) stale(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) == 0 && now.Sub(c.idle) >= http1.FreshIdle
}

// leaveLocked has the connection take no more requests, and close once it has none.
func (c *conn) leaveLocked() {
	c.leaving = true
	if len(c.streams) == 0 {
		c.byeLocked(x.ErrCodeNo)
	}
}

// closeIdle closes the connection if nobody uses it, and else once nobody does.
func (c *conn) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked()
}

var errClosed = errors.New("the connection was closed")

// byeLocked says why the connection is closed, and closes it.
func (c *conn) byeLocked(code http2.ErrCode) {
	if c.broken != nil || c.closing {
		return
	}
	c.closing, c.leaving = true, true
	c.out = http2.AppendGoAway(c.out, 0, code)
	c.timer.Stop()
	c.flushLocked()
}

// fail ends the connection, and all that is asked on it.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	first := c.broken == nil
	if first {
		c.broken = cause
		c.leaving = true
		c.timer.Stop()
		for _, s := range c.starting {
			s.failLocked(&Unprocessed{"nothing of it was sent: " + cause.Error()})
		}
		c.starting, c.out = nil, nil
		for _, s := range c.streams {
			s.silent = s.reused && s.seen == c.frames
			s.failLocked(cause)
		}
		clear(c.streams)
	}
	c.mu.Unlock()
	_ = c.nc.Close() // nothing can be done about one that does not close
	c.settled()
}

// flushLocked has what is in out written.
func (c *conn) flushLocked() {
	if c.deaf != nil {
		c.out = c.out[:0] // nobody takes it
	}
	if c.writing || c.broken != nil || len(c.out) == 0 {
		return
	}
	c.writing = true
	go c.write() // until there is nothing more, or the connection ends
}

// mostSpare is what is kept of memory for frames.
const mostSpare = 64 << 10

// write writes what is in out until there is nothing more.
func (c *conn) write() {
	c.mu.Lock()
	for c.broken == nil && len(c.out) > 0 {
		if c.catchUpLocked(); c.broken != nil {
			break
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		for _, s := range c.starting {
			if s.end == nil {
				s.call.SetSent(true)
			}
		}
		clear(c.starting)
		c.starting = c.starting[:0]
		c.mu.Unlock()
		err := c.nc.SetWriteDeadline(time.Now().Add(writeStall))
		if err == nil {
			_, err = c.nc.Write(b)
		}
		c.mu.Lock()
		if err != nil {
			c.unheardLocked(err)
		}
		if cap(b) <= mostSpare {
			c.spare = b[:0]
		}
		for _, s := range c.streams {
			if s.crowded {
				s.cond.Broadcast()
			}
		}
	}
	c.writing = false
	closing := c.closing && c.deaf == nil
	c.mu.Unlock()
	if closing {
		c.fail(errClosed)
	}
}

// catchUpLocked gives the reader a moment for what has come already, before requests are
// sent: if that is a GOAWAY, or the end, they may be sent elsewhere. A backend that closes
// with a request unread resets the connection, which takes away what it has said.
func (c *conn) catchUpLocked() {
	const looks, pause = 10, 100 * time.Microsecond
	for range looks {
		frames := c.frames
		if c.raw == nil || len(c.starting) == 0 || c.broken != nil {
			return
		}
		c.mu.Unlock()
		quiet := http1.Quiet(c.raw)
		if !quiet {
			time.Sleep(pause)
		}
		c.mu.Lock()
		if quiet || c.frames != frames {
			return
		}
	}
}

// unheardLocked says that the backend takes nothing more. It may have said something before,
// which is still to be read: an answer, or that it goes away.
func (c *conn) unheardLocked(err error) {
	c.deaf, c.leaving = err, true
	c.out = nil
	_ = c.nc.SetReadDeadline(time.Now().Add(grace)) // else the next read fails at once
}

// read reads frames until the connection ends.
func (c *conn) read() {
	defer c.in.Free()
	for {
		f, n, err := http2.ParseFrame(c.in.Bytes(), http2.MinFrame)
		if n == 0 && err == nil {
			if c.in.Buffered() == 0 {
				c.in.Free()
			}
			if err = c.in.Fill(); err == nil {
				continue
			}
			c.fail(c.ended(err))
			return
		}
		c.in.Discard(n)
		if err == nil {
			err = c.take(&f)
		}
		var one *http2.StreamError
		if errors.As(err, &one) && !c.block.open {
			err = c.reset(one)
		}
		if err != nil {
			c.refuse(err)
			return
		}
	}
}

// ended says why nothing more can be read.
func (c *conn) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the backend takes nothing more: %w", c.deaf)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the backend closed the connection: %w", err)
}

// refuse ends the connection of a backend that breaks the protocol, and tells it why.
func (c *conn) refuse(err error) {
	no := &http2.ConnError{Code: x.ErrCodeProtocol, Cause: err.Error()}
	_ = errors.As(err, &no)
	if !c.greet {
		no.Cause = "the backend does not speak HTTP/2: " + no.Cause
	}
	cause := fmt.Errorf("HTTP/2: %w", no)
	c.mu.Lock()
	for _, s := range c.streams {
		s.failLocked(cause)
	}
	clear(c.streams)
	c.byeLocked(no.Code)
	c.mu.Unlock()
	// What still comes is nobody's: but a connection that is closed with something unread
	// takes the reason away that is on its way.
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 64<<10))
	c.fail(cause)
}

// wakeLocked has tick come when next is over, if it does not come before.
func (c *conn) wakeLocked(now time.Time, next time.Duration) {
	if due := now.Add(next); due.Before(c.due) || !now.Before(c.due) {
		c.due = due
		c.timer.Reset(next)
	}
}

// tick closes a connection that has idled, and looks whether the backend of one that has not
// is still there.
func (c *conn) tick() {
	now := time.Now()
	c.mu.Lock()
	if c.broken != nil || c.closing {
		c.mu.Unlock()
		return
	}
	c.due = now
	if len(c.streams) == 0 {
		if left := http1.KeepIdle - now.Sub(c.idle); left > 0 {
			c.wakeLocked(now, left)
		} else {
			c.byeLocked(x.ErrCodeNo)
		}
		c.mu.Unlock()
		return
	}
	err := c.watchLocked(now)
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
}

// watchLocked asks a backend that is silent whether it is there, and returns an error if it
// was asked and is not.
func (c *conn) watchLocked(now time.Time) error {
	for _, s := range c.streams {
		if !s.orphaned.IsZero() && now.Sub(s.orphaned) >= orphanWait {
			s.resetLocked(x.ErrCodeCancel)
		}
	}
	if c.waits && !c.heard.Before(c.pinged) {
		c.waits = false
	}
	silent := now.Sub(c.heard)
	switch {
	case !c.begun.IsZero() && now.Sub(c.begun) >= blockWait:
		return &http1.TimeoutError{What: "a header that is not whole", Limit: blockWait} // and nothing else may come meanwhile
	case c.waits && now.Sub(c.pinged) >= pingWait:
		return &http1.TimeoutError{What: "nothing over the connection, not even an answer to a PING,", Limit: silent.Round(time.Second)}
	case c.waits:
		c.wakeLocked(now, pingWait-now.Sub(c.pinged))
	case silent < pingAfter:
		c.wakeLocked(now, pingAfter-silent)
	case !c.pinged.IsZero() && c.spoke.Before(c.pinged) && now.Sub(c.pinged) < pingPause:
		c.wakeLocked(now, min(pingPause-now.Sub(c.pinged), pingAfter))
	default:
		c.pinged, c.waits = now, true
		c.out = http2.AppendPing(c.out, false, []byte("foretier"))
		c.flushLocked()
		c.wakeLocked(now, pingWait)
	}
	return nil
}

// idleLocked notes that nothing is asked any more.
func (c *conn) idleLocked() {
	if len(c.streams) > 0 || c.broken != nil {
		return
	}
	if c.leaving {
		c.byeLocked(x.ErrCodeNo)
		return
	}
	now := time.Now()
	c.idle = now
	c.wakeLocked(now, http1.KeepIdle)
}
