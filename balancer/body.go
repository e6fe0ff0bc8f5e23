package balancer

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
)

// A body is a response's body that frees its place when it ends.
type body struct {
	try  *try
	src  io.ReadCloser
	idle time.Duration // the longest pause that is watched here; the pool's own connections watch theirs
	over atomic.Bool

	judged bool // whoever reads it calls broke
}

// Read bounds the wait for the next bytes.
func (b *body) Read(p []byte) (int, error) {
	if b.idle > 0 {
		timer := time.AfterFunc(b.idle, b.stall)
		defer timer.Stop()
	}
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF && !b.judged {
		err = b.broke(err)
	}
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *body) stall() {
	b.try.interrupt(fmt.Errorf("%w: nothing for %v inside a response", ErrTimeout, b.idle))
}

// broke judges a response that ended before its end, and leaves the cause.
func (b *body) broke(err error) error {
	t := b.try
	x := t.exchange
	if x.gone() {
		return err
	}
	err = t.entry.Fail(fmt.Errorf("response broke off: %w", err))
	x.broke(err)
	x.pool.observe(t.entry, time.Now(), t.exchange.req, tracker.Failed)
	return err
}

// Close closes the source and frees the place.
func (b *body) Close() error {
	err := b.src.Close()
	b.release()
	return err
}

// release frees the place, once. Whoever comes second does not wait for that.
func (b *body) release() {
	if !b.over.Swap(true) {
		b.try.end()
		b.try.release()
	}
}

// upgraded is the body of a 101, which is written too.
type upgraded struct {
	*body
	w      io.Writer
	last   atomic.Pointer[time.Timer] // ends it; nil while the client may still say something
	closed atomic.Bool                // here, so that what reading says is not the server's fault
}

// lastWords is how long a server may be silent once its client has said all. Whether
// that waits for an answer or has gone cannot be told.
const lastWords = 5 * time.Second

// Read gives the server time for as long as it says something.
func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.src.Read(p)
	if err == nil {
		if last := u.last.Load(); last != nil {
			last.Reset(lastWords)
		}
		return n, nil
	}
	if err != io.EOF && !u.closed.Load() {
		err = u.broke(err)
	}
	u.release()
	return n, err
}

// Write drops what cannot be sent any more: [httputil.ReverseProxy] would end both ways on an
// error, and what the server said before it left would be lost. Reading says how it ends.
func (u *upgraded) Write(p []byte) (int, error) {
	_, _ = u.w.Write(p)
	return len(p), nil
}

// CloseWrite tells the server that the client has said all.
func (u *upgraded) CloseWrite() error {
	half, ok := u.w.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	_ = half.CloseWrite() // else it has left: reading says so
	u.last.Store(time.AfterFunc(lastWords, func() { _ = u.Close() }))
	return nil
}

// Close closes the connection.
func (u *upgraded) Close() error {
	u.closed.Store(true)
	if last := u.last.Load(); last != nil {
		last.Stop()
	}
	return u.body.Close()
}
