package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// What a client may have the server hold: a body that nobody reads fills the window of its
// stream, and all bodies of a connection that of the connection.
const (
	streamWindow = 256 << 10
	connWindow   = 512 << 10
)

var (
	errSilent = fmt.Errorf("it answers no PING: %w", h1.ErrGone)
	errClosed = errors.New("the server has been closed")
	errEnded  = errors.New("the connection has ended")
)

// A conn is one client's connection.
type conn struct {
	srv    *Server
	owner  h1.Owner
	quick  Quick // the same; nil: it does not answer from heads
	ctx    context.Context
	wire   *wire.Conn
	nc     net.Conn // wire, or TLS above it
	secure *tls.ConnectionState
	remote string

	// What is its reader's.
	in       http1.Buffer // of what was read and is not used yet
	first    [1]byte      // of what comes next, over TLS
	fields   *hpack.Decoder
	block    block
	begun    bool          // something was read on it
	greeted  bool          // the preface has come
	settled  bool          // so have the client's first settings
	late     bool          // a frame has to come within some time
	idleTime time.Duration // between two requests
	answers  *[]byte       // to what was asked, that it has given itself and not written yet; nil: none

	mu       sync.Mutex
	streams  map[uint32]*stream // guarded by mu: those that are not answered yet
	zombies  int                // guarded by mu: handlers of streams that were reset
	tunnels  int                // guarded by mu: handlers that have taken their stream over
	given    bool               // guarded by mu: the connection is its owner's to end
	handlers int                // guarded by mu: all that have not returned
	last     uint32             // guarded by mu: the latest stream that was begun
	dropped  [16]uint32         // guarded by mu: streams that were given up of which more may come
	drops    int                // guarded by mu
	account  http2.Account      // guarded by mu

	since    time.Time // guarded by mu: nothing was asked
	awaiting bool      // guarded by mu: the reader waits for a frame to begin
	pinged   bool      // guarded by mu: the client was asked whether it is there, and has said nothing since
	resting  bool      // guarded by mu: … and nothing is asked
	asking   bool      // guarded by mu: the fields of a request are read
	leaving  parting   // guarded by mu
	closed   bool      // guarded by mu: it was closed

	out    out          // what is written
	intake http2.Intake // guarded by mu: of all bodies
	peer   struct {     // guarded by mu: what the client has said
		window  http2.Window // of the connection
		initial int32        // of each stream
		frame   int          // the most that it takes at once
		table   bool         // it has to be told that there is no dynamic table
	}
}

func newConn(ctx context.Context, s *Server, w *wire.Conn, nc net.Conn, owner h1.Owner) *conn {
	c := &conn{srv: s, owner: owner, ctx: ctx, wire: w, nc: nc, idleTime: s.HeadTime, since: time.Now()}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.secure = &state
	}
	c.quick, _ = owner.(Quick)
	c.in.Reset(nc)
	c.streams = make(map[uint32]*stream)
	c.intake = http2.NewIntake(http2.MinWindow)
	c.peer.window, c.peer.initial, c.peer.frame = http2.MinWindow, http2.MinWindow, http2.MinFrame
	c.out.space.L = &c.mu
	c.greet()
	return c
}

// Parked implements [wire.Served].
func (c *conn) Parked() bool { return c.wire.Parked() }

// step is what becomes of a connection after a frame.
type step uint8

const (
	onward step = iota // to the next
	over               // it is closed
	away               // nobody reads it until something comes
)

// run reads frames until the connection ends or is parked.
func (c *conn) run() {
	s := over // also if something panics
	defer func() {
		if s == over {
			c.end()
		}
	}()
	for {
		if s = c.next(); s != onward {
			return
		}
		s = over
	}
}

// end closes the connection, and gives up what is asked on it.
func (c *conn) end() {
	c.fail(h1.ErrGone)
	_ = errors.Join(c.nc.Close(), c.wire.Close()) // nothing can be done about one that does not close
	c.in.Discard(c.in.Buffered())
	c.in.Free()
	c.mu.Lock()
	c.closed = true
	last := c.handlers == c.tunnels
	c.mu.Unlock()
	if last {
		c.srv.conns.Remove(c)
	}
}

// cut ends the connection at once.
func (c *conn) cut(cause error) {
	c.fail(cause)
	_ = c.wire.Close() // whoever reads or writes sees that
}

// fail gives up what is asked on the connection, of which nothing can be sent any more.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	if c.out.broken == nil {
		c.out.broken = cause
	}
	all := make([]*stream, 0, len(c.streams))
	for _, s := range c.streams {
		s.closeLocked()
		s.failLocked(cause)
		all = append(all, s)
	}
	c.out.space.Broadcast()
	c.mu.Unlock()
	for _, s := range all {
		s.scope.End(cause)
	}
}

// fill reads once, after what is owed was sent.
func (c *conn) fill() step {
	c.send()
	if c.in.Buffered() == 0 && !c.block.open {
		return c.await()
	}
	limit := c.srv.HeadTime
	data := c.in.Buffered() > 3 && c.in.Bytes()[3] == 0 // of a body, which may pause
	if data {
		limit = c.srv.BodyStall
	}
	if !c.late || data {
		c.late = true
		c.wire.Allow(limit)
	}
	if err := c.in.Fill(); err != nil {
		return over
	}
	return onward
}

// whole says that a frame has come.
func (c *conn) whole() {
	if c.late && !c.block.open {
		c.late = false
		c.wire.Allow(0)
	}
}

// await waits for a frame to begin.
func (c *conn) await() step {
	c.in.Free()
	if c.block.work != nil {
		works.Put(c.block.work)
		c.block.work = nil
	}
	c.mu.Lock()
	if c.block.asked {
		c.block.asked = false
		c.since = time.Now()
	}
	c.awaiting = true
	if c.restLocked(); !c.resting && c.srv.WriteStall > 0 {
		c.wire.Allow(silence)
	}
	c.mu.Unlock()
	for {
		err := c.hear()
		if err == nil {
			break
		}
		if s := c.interrupted(err); s != onward {
			return s
		}
	}
	c.mu.Lock()
	c.awaiting, c.pinged = false, false
	if c.resting {
		c.resting = false
		c.wire.Busy()
	} else {
		c.wire.Allow(0)
	}
	c.mu.Unlock()
	return c.begin()
}

// restLocked lets the connection idle if nothing is asked on it.
func (c *conn) restLocked() {
	if !c.awaiting || c.resting || c.handlers > 0 {
		return
	}
	c.resting = true
	limit := c.idleTime
	if limit > 0 { // what is no request does not make it longer
		limit = max(1, limit-time.Since(c.since))
	}
	c.wire.Idle(limit)
}

// interrupted says what follows from an error of who waits for a frame.
func (c *conn) interrupted(err error) step {
	c.mu.Lock()
	done, idle, late := c.leaving == parted && len(c.streams) == 0, c.resting, c.wire.Late()
	c.mu.Unlock()
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded), done:
		return over
	case late && !idle:
		return c.probe()
	case late:
		c.sayGoodbye(x.ErrCodeNo)
		return over
	case !c.wire.ShouldPark():
		if c.wire.Bounded() {
			return over // whoever has set a deadline wants that
		}
		return onward // it has begun to idle when its silence became too long
	case c.wire.Park(c.run):
		return away
	}
	return onward
}

// silence is for how long nothing comes of a client that something is answered, before it is
// asked whether it is there: about as long as TCP waits with its own question, which a proxy
// on the way answers for it.
const silence = 30 * time.Second

// probe asks a client that has said nothing for long whether it is there, or gives it up if
// it has not answered that: what waits for a client that is gone would wait for ever. It has
// as long as it may take to take something.
func (c *conn) probe() step {
	c.mu.Lock()
	switch {
	case c.resting: // meanwhile
	case c.out.writing: // who writes sees what is taken, which is an answer
		c.wire.Allow(c.srv.WriteStall)
	case !c.pinged:
		c.pinged = true
		c.wire.Allow(c.srv.WriteStall)
		b := c.bufferLocked()
		*b = http2.AppendPing(*b, false, []byte(question))
		c.carryOnLocked()
	default:
		c.mu.Unlock()
		c.cut(errSilent)
		return over
	}
	c.mu.Unlock()
	return onward
}

// question is what a PING has that asks so.
const question = "are you?"

// hear waits for the first bytes of a frame. TLS is asked for one, and has the others
// at hand then.
func (c *conn) hear() error {
	if c.secure == nil {
		n, err := c.wire.ReadLate(c)
		if n > 0 {
			c.in.Filled(n)
			return nil // an error shows again
		}
		return err
	}
	n, err := c.nc.Read(c.first[:])
	if n == 0 {
		return err
	}
	c.in.Append(c.first[:])
	return nil // likewise
}

// Take implements [wire.Room]: there is something to read.
func (c *conn) Take() []byte { return c.in.Room() }

// Return implements [wire.Room]: there is not.
func (c *conn) Return() { c.in.Free() }

// begin looks at a connection of which the first byte has come: behind the PROXY protocol
// it has told whose it is.
func (c *conn) begin() step {
	if c.begun {
		return onward
	}
	c.begun = true
	c.remote = c.nc.RemoteAddr().String()
	idle, ok := c.owner.Begun()
	if c.idleTime = idle; !ok {
		return over
	}
	return onward
}
