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
