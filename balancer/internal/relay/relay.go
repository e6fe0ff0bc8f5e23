// Package relay carries bytes between two connections.
package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrIdle means that nothing moved for as long as the relay allows.
var ErrIdle = errors.New("balancer: no byte either way for too long")

// A Relay carries bytes between two connections, both ways.
//
// Between two TCP connections the kernel does it (splice on Linux), so the
// bytes are never seen here. What is needed to tell an idle connection from a
// busy one is asked of the kernel too.
type Relay struct {
	Client, Backend net.Conn
	Idle            time.Duration     // without a byte either way, until it is broken off; not positive: never
	HalfOpen        time.Duration     // likewise, once one side has ended its half
	Ended           func(hungUp bool) // called if the backend is the first to end: without having served, if hungUp

	first  sync.Once
	early  atomic.Bool  // the backend was the first, and said something
	up     atomic.Bool  // the client has said something; where the kernel counts, it knows
	halves atomic.Int32 // that have ended in order

	kernel bool          // the kernel counts
	copied atomic.Uint64 // else this does
	down   atomic.Uint64 // bytes from the backend, told at the end of its half

	mu    sync.Mutex
	why   error       // guarded by mu: the first cause of its end, if it broke
	fault side        // guarded by mu: who broke it
	timer *time.Timer // guarded by mu: looks for idleness; nil: nobody does
	limit time.Duration
	seen  uint64    // guarded by mu: what bytes said when it was last looked at
	since time.Time // guarded by mu: when that was new, or the watch began
	over  bool      // guarded by mu: both halves have ended
}

// A side is an end of a relay.
type side uint8

const (
	nobody side = iota
	clientSide
	backendSide
)

// Run carries until both halves have ended, and closes both connections. It
// returns why it broke, or nil.
func (r *Relay) Run() error {
	r.kernel = kernelCounts && tcpOf(r.Client) != nil && tcpOf(r.Backend) != nil
	r.watch(r.Idle)
	var up sync.WaitGroup
	up.Go(func() { r.half(r.Backend, r.Client, backendSide, clientSide) })
	n := r.half(r.Client, r.Backend, clientSide, backendSide)
	r.down.Store(uint64(n))
	up.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.early.Load() && Dead(r.Backend) { // it did not read what it was sent
		r.Ended(true)
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	// Both ends have been told by the halves, or by abort.
	_ = r.Client.Close()
	_ = r.Backend.Close()
	return r.why
}

// half carries one way, and hands on the end.
func (r *Relay) half(dst, src net.Conn, dstSide, srcSide side) int64 {
	n, fault, err := r.copy(dst, src, dstSide, srcSide)
	r.first.Do(func() {
		if srcSide == backendSide && r.Ended != nil && (err == nil || fault == backendSide && !errors.Is(err, net.ErrClosed)) {
			r.early.Store(true)
			r.Ended(n == 0 || err != nil || !r.asked() || Dead(src))
		}
	})
	if err != nil {
		r.broke(fault, err)
		return n
	}
	// If that fails, the other half finds out.
	_ = CloseWrite(dst)
	if r.halves.Add(1) == 2 {
		return n
	}
	limit := r.HalfOpen
	if limit > 0 && r.Idle > 0 {
		limit = min(limit, r.Idle)
	}
	r.watch(limit)
	return n
}

// copy carries src's bytes to dst until src ends, and returns how many they
// were and whose fault an error is.
func (r *Relay) copy(dst, src net.Conn, dstSide, srcSide side) (int64, side, error) {
	if d, ok := dst.(*net.TCPConn); ok && r.kernel {
		if s, ok := src.(*net.TCPConn); ok {
			n, err := io.Copy(d, s)
			if err != nil && Dead(dst) && !Dead(src) {
				return n, dstSide, err
			}
			return n, srcSide, err
		}
	}
	buf := relayBuffers.Get().(*[64 << 10]byte)
	defer relayBuffers.Put(buf)
	var total int64
	for {
		n, err := src.Read(buf[:])
		total += int64(n)
		r.copied.Add(uint64(n))
		if n > 0 {
			if srcSide == clientSide && !r.up.Load() {
				r.up.Store(true)
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return total, dstSide, err
			}
			r.copied.Add(1) // a slow write is no idleness
		}
		switch err {
		case nil:
		case io.EOF:
			return total, nobody, nil
		default:
			return total, srcSide, err
		}
	}
}

var relayBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// watch breaks the relay off once nothing has moved for limit; not positive:
// never. A later call replaces the limit.
func (r *Relay) watch(limit time.Duration) {
	if limit <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.limit, r.since = limit, time.Now()
	if r.timer == nil {
		r.timer = time.AfterFunc(limit/4, r.look)
	} else {
		r.timer.Reset(limit / 4)
	}
}

// look is watch's timer: the limit is kept to a half.
func (r *Relay) look() {
	r.mu.Lock()
	now := time.Now()
	if n := r.bytes(); n != r.seen { // the first time always: to ask costs two system calls
		r.seen, r.since = n, now
	}
	idle := !r.over && now.Sub(r.since) >= r.limit
	if !r.over && !idle {
		r.timer.Reset(r.limit / 4)
	}
	limit := r.limit
	r.mu.Unlock()
	if idle {
		r.Abort(fmt.Errorf("%w: %v", ErrIdle, limit))
	}
}

// bytes returns a figure that grows with each byte that gets through.
func (r *Relay) bytes() uint64 {
	if !r.kernel {
		return r.copied.Load()
	}
	a, _ := Moved(r.Client)
	b, _ := Moved(r.Backend)
	return a + b
}

// broke ends the relay because of an error on one side.
func (r *Relay) broke(at side, err error) {
	r.mu.Lock()
	if r.why == nil && !r.over {
		r.fault = at
		if at == backendSide {
			r.why = fmt.Errorf("the backend's side: %w", err)
		} else {
			r.why = fmt.Errorf("the client's side: %w", err)
		}
	}
	r.mu.Unlock()
	r.Abort(err)
}

// Abort ends the relay at once, and so that neither end takes it for a proper
// end. It does not block.
func (r *Relay) Abort(why error) {
	r.mu.Lock()
	over := r.over
	if r.why == nil {
		r.why = why
	}
	r.mu.Unlock()
	if !over {
		Abort(r.Client)
		Abort(r.Backend)
	}
}

// BackendBroke reports whether what Run returned was on the backend's side.
func (r *Relay) BackendBroke() bool { return r.fault == backendSide }

// asked reports whether the client has sent a byte.
func (r *Relay) asked() bool {
	if r.kernel {
		return received(r.Client)
	}
	return r.up.Load()
}

// Answered reports whether the backend sent a byte.
func (r *Relay) Answered() bool { return r.down.Load() > 0 }

// What connections are around others, or can be closed by halves.
type (
	halfCloser interface{ CloseWrite() error } // TCP, TLS, Unix sockets
	secured    interface{ NetConn() net.Conn } // a tls.Conn
	unprefixed interface{ Raw() net.Conn }     // what took a PROXY header off
)

// CloseWrite ends the half that goes to c. A connection without halves is
// closed.
func CloseWrite(c net.Conn) error {
	for {
		switch w := c.(type) {
		case halfCloser:
			return w.CloseWrite()
		case unprefixed:
			c = w.Raw()
		default:
			return c.Close()
		}
	}
}

// Abort closes c at once, with a reset if it is TCP: the other end must not
// take what it got for the whole.
func Abort(c net.Conn) {
	if t := tcpOf(c); t != nil {
		_ = t.SetLinger(0) // at worst it ends in order
		_ = t.Close()
		return
	}
	_ = c.Close()
}

// tcpOf returns the TCP connection under c, or nil.
func tcpOf(c net.Conn) *net.TCPConn {
	for {
		switch w := c.(type) {
		case *net.TCPConn:
			return w
		case secured:
			c = w.NetConn()
		case unprefixed:
			c = w.Raw()
		default:
			return nil
		}
	}
}
