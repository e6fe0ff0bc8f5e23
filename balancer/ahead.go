package balancer

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The limits of what is kept in memory for slow clients.
const (
	bufferEach  = 1 << 20               // of one response
	bufferTotal = 128 << 20             // of all of a pool's
	holdEach    = 64 << 10              // of one response, before any of it goes on
	holdTime    = 10 * time.Millisecond // for which it may be held, from its header on
	slowAfter   = 10 * time.Millisecond // what a client may take for one piece before it counts as slow
)

// ahead is the body of a response that is read ahead of a slow client, so that
// a telephone on a train does not hold a worker of the backend. While the
// client keeps up, nothing is kept: its own reads go through. Once it lets
// slowAfter pass between two of them, a goroutine reads on in its place, up to
// bufferEach. Close waits for it.
//
// Before any of it goes on, it is held for a moment: a server that dies in the
// middle of a page is one that did not answer, as long as nobody has seen the
// beginning.
type ahead struct {
	pool *Pool
	src  *body

	mu     sync.Mutex
	grown  sync.Cond   // on mu: a piece was added, or filling ended
	timer  *time.Timer // guarded by mu: starts to fill
	pieces []*piece    // guarded by mu
	grows  *piece      // guarded by mu: the last of pieces, while it is read into
	kept   int         // guarded by mu: bytes that count
	fills  bool        // guarded by mu: a goroutine reads src
	most   int         // guarded by mu: bytes that may be kept
	held   bool        // guarded by mu: none of it has gone on
	err    error       // guarded by mu: how src ended
	shut   bool        // guarded by mu
}

// A piece is a buffer of which from to to is filled.
type piece struct {
	buf      []byte
	from, to int
}

// newAhead returns src as one that may be read ahead. It is held until hold or
// answer is called.
func newAhead(p *Pool, src *body) *ahead {
	a := &ahead{pool: p, src: src, most: holdEach, held: true}
	a.grown.L = &a.mu
	src.judged = true
	return a
}

// answer says that from now on what is read may be on its way to the client.
func (a *ahead) answer() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answerLocked()
}

func (a *ahead) answerLocked() { a.most, a.held = bufferEach, false }

// hold reads until the body is whole, or enough of it or time for now. It
// returns how the body broke off, if it did.
func (a *ahead) hold() error {
	enough := false
	timer := time.AfterFunc(holdTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		enough = true
		a.grown.Broadcast()
	})
	defer timer.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fills = true
	go a.fill()
	for a.fills && !enough {
		a.grown.Wait()
	}
	if a.err != nil && a.err != io.EOF {
		return a.err
	}
	a.answerLocked()
	return nil
}

// streams reports whether each byte matters when it comes, and an answer that
// says nothing for long is no slow one.
func streams(h http.Header) bool {
	if strings.EqualFold(h.Get("X-Accel-Buffering"), "no") {
		return true
	}
	kind := mediaType(h)
	return kind == eventStream || strings.HasPrefix(kind, "application/grpc")
}

func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	for a.fills && !a.someLocked() {
		a.grown.Wait()
	}
	if a.someLocked() {
		n := a.takeLocked(p)
		a.watchLocked()
		return n, nil
	}
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.readLocked(p)
	a.watchLocked()
	return n, err
}

// readLocked reads from the source, without the lock, and judges its end, unless
// that is left to hold.
func (a *ahead) readLocked(p []byte) (int, error) {
	a.mu.Unlock()
	n, err := a.src.Read(p)
	a.mu.Lock()
	if err != nil && err != io.EOF && !a.held {
		a.mu.Unlock()
		err = a.src.broke(err)
		a.mu.Lock()
	}
	a.err = err
	return n, err
}

// someLocked reports whether there are bytes to take.
func (a *ahead) someLocked() bool { return len(a.pieces) > 0 && a.pieces[0].from < a.pieces[0].to }

// takeLocked moves bytes from the oldest piece to p.
func (a *ahead) takeLocked(p []byte) int {
	first := a.pieces[0]
	n := copy(p, first.buf[first.from:first.to])
	first.from += n
	if first.from == first.to && first != a.grows {
		a.pieces = a.pieces[1:]
		a.dropLocked(first)
	}
	return n
}

func (a *ahead) dropLocked(p *piece) {
	buffers.Put(p.buf)
	a.kept -= len(p.buf)
	a.pool.buffered.Add(-int64(len(p.buf)))
}

// watchLocked starts to wait for the client's next read.
func (a *ahead) watchLocked() {
	switch {
	case a.err != nil || a.fills || a.shut:
	case a.timer == nil:
		a.timer = time.AfterFunc(slowAfter, a.slow)
	default:
		a.timer.Reset(slowAfter)
	}
}

// slow fills while the client takes its time.
func (a *ahead) slow() {
	a.mu.Lock()
	idle := !a.fills && !a.shut && a.err == nil
	a.fills = a.fills || idle
	a.mu.Unlock()
	if idle {
		a.fill()
	}
}

// fill reads on until the end or a limit. Its caller has set fills.
func (a *ahead) fill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		a.fills = false
		a.grown.Broadcast()
	}()
	for a.err == nil && !a.shut {
		last := a.roomLocked()
		if last == nil {
			return
		}
		a.grows = last
		n, _ := a.readLocked(last.buf[last.to:])
		a.grows = nil
		last.to += n
		if last.from == last.to { // it was taken meanwhile, or nothing came
			a.pieces = a.pieces[:len(a.pieces)-1]
			a.dropLocked(last)
		}
		a.grown.Broadcast()
	}
}

// roomLocked returns the piece to read into, or nil at a limit.
func (a *ahead) roomLocked() *piece {
	if n := len(a.pieces); n > 0 && a.pieces[n-1].to < len(a.pieces[n-1].buf) {
		return a.pieces[n-1]
	}
	buf := buffers.Get()
	if a.kept+len(buf) > a.most || !a.pool.reserve(len(buf)) {
		buffers.Put(buf)
		return nil
	}
	a.kept += len(buf)
	p := &piece{buf: buf}
	a.pieces = append(a.pieces, p)
	return p
}

// Close gives up what was not read.
func (a *ahead) Close() error {
	a.mu.Lock()
	a.shut = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	err := a.src.Close() // ends the read that may be going on
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.fills {
		a.grown.Wait()
	}
	for _, p := range a.pieces {
		a.dropLocked(p)
	}
	a.pieces = nil
	if a.err == nil {
		a.err = http.ErrBodyReadAfterClose
	}
	return err
}

// reserve counts n more bytes of memory, if the pool may still have them.
func (p *Pool) reserve(n int) bool {
	if p.buffered.Add(int64(n)) <= bufferTotal {
		return true
	}
	p.buffered.Add(-int64(n))
	return false
}
