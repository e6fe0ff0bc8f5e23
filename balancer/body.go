package balancer

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
)

// A body is a response's body that frees its place when it ends.
type body struct {
	try  *try
	src  io.ReadCloser
	idle time.Duration // the longest pause that is watched here; the pool's own connections watch theirs
	once sync.Once

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

func (b *body) release() {
	b.once.Do(func() {
		b.try.end()
		b.try.release()
	})
}

// upgraded is the body of a 101, which is written too.
type upgraded struct {
	*body
	w io.Writer
}

// Write drops what cannot be sent any more: [httputil.ReverseProxy] would end both ways on an
// error, and what the server said before it left would be lost. Reading says how it ends.
func (u upgraded) Write(p []byte) (int, error) {
	_, _ = u.w.Write(p)
	return len(p), nil
}

// lastWords is how long a backend has for what it says once its client says no more.
const lastWords = 5 * time.Second

// CloseWrite ends the direction to the backend, and lets it say its last words: browsers end
// theirs behind the frame that closes a websocket of HTTP/2, and want the answer to it.
// One that says nothing to that is not waited for: over HTTP/1.1 its client has left, as a
// rule.
func (u upgraded) CloseWrite() error {
	half, ok := u.w.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	time.AfterFunc(lastWords, func() { _ = u.Close() }) // it may be closed
	return half.CloseWrite()
}
