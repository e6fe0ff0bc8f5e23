package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Conn is one connection. Like any [net.Conn] it may be used at once by a
// reader, a writer, and those who set deadlines or close it. What says how it
// is read ([Conn.Idle], [Conn.Rest], [Conn.Allow], [Conn.Roll], [Conn.Watch], [Conn.Park]) is
// its reader's.
type Conn struct {
	net.Conn
	set  *Set
	raw  syscall.RawConn // nil: there is no socket that could be watched
	sock *socket         // by which it is read and written; nil: by Conn

	idle    atomic.Int64 // since when nothing is asked on it, by the set's clock; 0: something is
	readBy  atomic.Int64 // when what is read must be here; 0: whenever
	writeBy atomic.Int64 // when the client must have taken something of what is written; 0: whenever
	silent  int          // parts of the time to take something in which nothing was taken; the writer's
	rolling atomic.Int64 // how long both directions may be silent, in ns; 0: each has limits of its own; negative: for ever

	reading, writing deadline

	watched watched
	park    park
	closing sync.Once
}

// A deadline is one that somebody has asked for, beside the limits.
type deadline struct {
	mu sync.Mutex
	at time.Time // guarded by mu; zero: none
}

// set sets the deadline by f.
func (d *deadline) set(at time.Time, f func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	return f(at)
}

// restore sets it again, after the sweep has interrupted what it did not mean.
func (d *deadline) restore(f func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f(d.at)
}

func (d *deadline) isSet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero()
}

func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

var past = time.Unix(1, 0)

// look interrupts who waits for too long at now. Errors of a deadline say that
// the connection is closed, which interrupts by itself.
func (c *Conn) look(now int64) {
	if by := c.readBy.Load(); by != 0 && now >= by {
		if !c.unpark() { // else who reads next sees that it is late
			_ = c.Conn.SetReadDeadline(past)
		}
	}
	if by := c.writeBy.Load(); by != 0 && now >= by {
		_ = c.Conn.SetWriteDeadline(past)
	}
}

// Idle says that nothing is asked on the connection for now, and gives the
// client d to ask something; 0 and less: for ever.
func (c *Conn) Idle(d time.Duration) { c.restAt(c.set.now(), d) }

// Rest is Idle, said by the reader before it reads. Where the set is crowded, and the
// connection is asked seldom, or for the first time, that read does not wait for what is not
// there yet: it ends so that its reader can park.
func (c *Conn) Rest(d time.Duration) {
	now := c.set.now()
	if c.restAt(now, d) {
		seldom := c.park.rested == 0 || now-c.park.rested >= int64(soon)
		c.park.rested = now
		c.park.atOnce = seldom && c.set.isCrowded() && c.canPark()
	}
}

// restAt reports whether something was asked until now.
func (c *Conn) restAt(now int64, d time.Duration) bool {
	wasBusy := c.idle.CompareAndSwap(0, now) // a connection that has just been accepted idles since then
	c.allow(now, d)
	return wasBusy
}

// Busy says that something is asked on the connection, and ends the time that Idle
// gave.
func (c *Conn) Busy() {
	c.idle.Store(0)
	c.readBy.Store(0)
}

// IdleSince returns since when nothing is asked on the connection, and whether
// that is so.
func (c *Conn) IdleSince() (time.Duration, bool) {
	since := c.idle.Load()
	return time.Duration(since), since != 0
}

// Allow gives what is read from now on d to arrive, as a whole; 0 and less: for
// ever.
func (c *Conn) Allow(d time.Duration) {
	if d <= 0 {
		c.readBy.Store(0)
		return
	}
	c.allow(c.set.now(), d)
}

func (c *Conn) allow(now int64, d time.Duration) {
	by := now + int64(d)
	if d <= 0 {
		by = 0
	}
	c.readBy.Store(by)
}

// Late reports whether the time that was given is over.
func (c *Conn) Late() bool {
	by := c.readBy.Load()
	return by != 0 && c.set.now() >= by
}

// Roll lets both directions be silent for d, from the latest byte in either,
// instead of all other limits; 0 and less: for ever.
func (c *Conn) Roll(d time.Duration) {
	if d <= 0 {
		d = -1
	}
	c.rolling.Store(int64(d))
	c.roll()
}

func (c *Conn) roll() {
	if d := c.rolling.Load(); d != 0 {
		c.Allow(time.Duration(d))
	}
}

// Read implements [net.Conn]. It ends with [os.ErrDeadlineExceeded], too, when
// the time of the latest Allow, Idle or Roll is over, or when the reader had
// better park: see [Conn.Parks], [Conn.Park].
func (c *Conn) Read(p []byte) (int, error) { return c.read(p, nil) }

// A Room is memory that is taken for a read, and returned if nothing was read.
type Room interface {
	Take() []byte
	Return()
}

// ReadLate is Read, but that a reader of a socket has memory only once there is
// something to read.
func (c *Conn) ReadLate(room Room) (n int, err error) {
	if c.sock != nil {
		return c.read(nil, room)
	}
	n, err = c.Read(room.Take())
	if n == 0 {
		room.Return()
	}
	return n, err
}

func (c *Conn) read(p []byte, room Room) (n int, err error) {
	for {
		if c.sock != nil && (room != nil || len(p) > 0) { // to read nothing is to ask whether it is open
			n, err = c.sock.read(p, room)
		} else {
			n, err = c.Conn.Read(p)
		}
		if n > 0 {
			c.roll()
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) ||
			c.Late() || c.ShouldPark() || c.reading.passed() {
			return n, err
		}
		// The sweep meant a read that has ended meanwhile.
		c.park.asked.Store(false)
		if err := c.reading.restore(c.Conn.SetReadDeadline); err != nil || n > 0 {
			return n, err
		}
	}
}

// writeChunk is how much is handed to the kernel at once, and may be taken
// within one limit.
const writeChunk = 256 << 10

// Write implements [net.Conn]. It ends with [os.ErrDeadlineExceeded], too, if
// the client takes nothing for [Options.WriteStall], or a quarter more.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.silent = 0
	for {
		m, err := c.write(p[n:min(len(p), n+writeChunk)])
		n += m
		if err != nil {
			err = c.judge(err, int64(m))
		}
		if err != nil || n == len(p) {
			c.writeBy.Store(0)
			c.roll()
			return n, err
		}
	}
}

// write writes p within one part of the time to take something.
func (c *Conn) write(p []byte) (int, error) {
	if c.sock != nil {
		return c.sock.write(p)
	}
	c.awaitTaking()
	return c.Conn.Write(p)
}

// parts is in how many parts the time is looked at in which a client must take
// something: how much it takes shows only when a write is interrupted.
const parts = 4

// awaitTaking begins such a part.
func (c *Conn) awaitTaking() {
	limit := int64(c.set.opts.WriteStall)
	if d := c.rolling.Load(); d != 0 {
		limit = d
	}
	if limit > 0 {
		c.writeBy.Store(c.set.now() + limit/parts)
	}
}

// judge returns why a write of which n bytes were taken has failed, or nil if
// it is to go on: the client takes what it gets, or has more time, or the sweep
// meant another write.
func (c *Conn) judge(err error, n int64) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.writing.passed() {
		return err
	}
	by := c.writeBy.Load()
	switch {
	case n > 0:
		c.silent = 0
	case by != 0 && c.set.now() >= by:
		if c.silent++; c.silent == parts {
			return err
		}
	}
	return c.writing.restore(c.Conn.SetWriteDeadline)
}

// ReadFrom sends files by the kernel's own way (sendfile). All other sources
// may pause for longer than the client may, so they are copied write by write.
func (c *Conn) ReadFrom(src io.Reader) (n int64, err error) {
	limited, _ := src.(*io.LimitedReader)
	file, _ := src.(*os.File)
	if limited != nil {
		file, _ = limited.R.(*os.File)
	}
	to, _ := c.Conn.(io.ReaderFrom)
	if file == nil || to == nil || c.rolling.Load() != 0 {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	defer c.writeBy.Store(0)
	c.silent = 0
	for limited == nil || limited.N > 0 {
		chunk := &io.LimitedReader{R: file, N: writeChunk}
		if limited != nil {
			chunk.N = min(chunk.N, limited.N)
		}
		want := chunk.N
		before, serr := file.Seek(0, io.SeekCurrent)
		c.awaitTaking()
		m, err := to.ReadFrom(chunk)
		n += m
		if limited != nil {
			limited.N -= m
		}
		if err != nil {
			// It may go on only if nothing was read that was not written.
			if after, aerr := file.Seek(0, io.SeekCurrent); errors.Join(serr, aerr) != nil || after-before != m {
				return n, err
			}
			if err := c.judge(err, m); err != nil {
				return n, err
			}
			continue
		}
		if m < want {
			return n, nil // the file's end
		}
	}
	return n, nil
}

// SetReadDeadline implements [net.Conn]. The limits hold beside it.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.reading.set(t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements [net.Conn]. The limits hold beside it.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.writing.set(t, c.Conn.SetWriteDeadline)
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Bounded reports whether a deadline is set, beside the limits.
func (c *Conn) Bounded() bool { return c.reading.isSet() || c.writing.isSet() }

// Reset makes Close reset the connection, where it can, so that its end cannot
// be taken for that of an answer.
func (c *Conn) Reset() {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0) // or the end is an ordinary one
	}
}

// NetConn returns what the connection was made of.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// A halfCloser ends one direction of a connection: TCP, TLS, Unix sockets.
type halfCloser interface{ CloseWrite() error }

// CloseWrite half-closes the connection, where it can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(halfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection. If its reader has parked, it is woken, to see
// that.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.set.watch.forget(c) // before its descriptor may be another's
		c.set.remove(c)
	})
	err := c.Conn.Close()
	c.unpark()
	return err
}
