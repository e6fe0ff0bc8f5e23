package h1

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// A body is that of the request which is served, as its handler reads it. One
// goroutine reads it at a time, and none once the handler has returned.
type body struct {
	c   *conn
	src http1.Body
	n   uint // reads of it

	mu       sync.Mutex
	waits    bool // guarded by mu: the client sends nothing before it is told to
	answered bool // guarded by mu: it is too late for that
	failed   bool // guarded by mu: it cannot be read to its end
	whole    bool // guarded by mu: it was read to its end
}

// begin makes b the body of the request whose head was read. trailer is where
// its trailers go.
func (b *body) begin() {
	b.src.Reset(&b.c.buf, &b.c.head)
	b.n = 0
	b.waits, b.answered, b.failed, b.whole = b.c.head.Expect, false, false, b.ended()
}

// ended reports whether all of it was read, or there is none.
func (b *body) ended() bool { return b.src.Ended() }

// Read implements [io.Reader]. A client that waits to be told so is told to
// send it (RFC 9110, section 10.1.1).
func (b *body) Read(p []byte) (int, error) {
	if b.ended() {
		return 0, io.EOF
	}
	if err := b.invite(); err != nil {
		return 0, err
	}
	b.c.wire.Allow(b.c.srv.BodyStall)
	n, err := b.src.Read(p)
	if b.n++; b.n%readsAtOnce == 0 {
		runtime.Gosched() // or who pours has the processor for 10 ms, again and again
	}
	if err != nil && !b.ended() {
		b.fail(err)
	}
	b.c.wire.Allow(0)
	if b.ended() {
		b.mu.Lock()
		b.whole = true
		b.mu.Unlock()
		b.c.listen.start(b.c)
	}
	return n, err
}

// readsAtOnce is how often a body is read before others have their turn. Nobody
// waits for a client that sends faster than its body is used.
const readsAtOnce = 4

// fail says that the body cannot be read to its end. Whoever waits for what the
// request asks for waits in vain if its client is too slow.
func (b *body) fail(err error) {
	b.mu.Lock()
	b.failed = true
	b.mu.Unlock()
	if b.c.wire.Late() {
		b.c.gone(fmt.Errorf("nothing of the body for %v: %w", b.c.srv.BodyStall, err))
	}
}

// Close implements [io.Closer]. What is left is the server's to read.
func (*body) Close() error { return nil }

var continues = http1.AppendInformational(nil, http.StatusContinue, nil)

// invite tells a client that waits to send the body, once, unless it has been
// answered: what would come then is a part of the answer.
func (b *body) invite() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.waits || b.answered {
		return nil
	}
	b.waits = false
	_, err := b.c.nc.Write(continues)
	return err
}

// told says that the handler has told the client to send it.
func (b *body) told() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = false
}

// answer says that the client is answered, and reports whether nothing can be
// read behind the body any more: its client may send it or not, or has sent
// what is none.
func (b *body) answer() (last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = true
	return b.waits || b.failed
}

// isWhole reports whether it was read to its end: what has come since is another
// request's. Unlike ended, anybody may ask.
func (b *body) isWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

const (
	drainMost = 256 << 10             // of a request's body that nobody has read
	drainTime = 50 * time.Millisecond // for the client to send it
)

// drain reads what is left of the body, if that is little and comes soon, so
// that the connection can be kept, and reports whether it did. The answer is
// out before. Nothing else may be read from a connection of which a body was
// not read to its end: it would be taken for the next request.
func (b *body) drain() bool {
	if b.ended() {
		return true
	}
	if b.waits || b.c.wire.SetReadDeadline(time.Now().Add(drainTime)) != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, &b.src, drainMost)
	return err == io.EOF && b.ended()
}
