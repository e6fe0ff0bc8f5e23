package balancer

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The limits of what is kept for slow clients.
const (
	bufferEach  = 1 << 20                // in memory, of one response
	bufferTotal = 128 << 20              // in memory, of all of a pool's; of one client's a quarter
	fileEach    = 1 << 30                // on the disk, of one response; see Spool for all
	holdEach    = 64 << 10               // of one response, before any of it goes on
	holdTime    = 10 * time.Millisecond  // for which it may be held, from its header on
	slowAfter   = 10 * time.Millisecond  // what a client may take for one piece before it counts as slow
	roomAfter   = 100 * time.Millisecond // after which it is looked anew whether there is room
)

// ahead is the body of a response that is read ahead of a slow client, so that
// a telephone on a train does not hold a worker of the backend. While the
// client keeps up, nothing is kept: its own reads go through. Once it lets
// slowAfter pass between two of them, a goroutine reads on in its place, up to
// bufferEach. If it does so again, all goes to the disk, until the client has
// caught up. Close waits for the goroutine.
//
// Before any of it goes on, it is held for a moment: a server that dies in the
// middle of a page is one that did not answer, as long as nobody has seen the
// beginning.
type ahead struct {
	pool *proxy
	src  *body

	mu     sync.Mutex
	grown  sync.Cond   // on mu: a piece was added, or filling ended
	timer  *time.Timer // guarded by mu: starts to fill
	file   *file       // guarded by mu: the first of what is kept, or nil; who fills appends to it
	filed  int64       // guarded by mu: how much is in it
	off    int64       // guarded by mu: how much of that the client has
	pieces []*piece    // guarded by mu: what follows
	busy   *piece      // guarded by mu: one of pieces, while it is read into or written
	kept   int         // guarded by mu: bytes of memory that count
	client netip.Addr  // guarded by mu: for whom
	fills  bool        // guarded by mu: a goroutine reads src
	reads  bool        // guarded by mu: the client does
	late   bool        // guarded by mu: the client has not come for slowAfter
	most   int         // guarded by mu: bytes that may be kept in memory
	rest   int64       // guarded by mu: bytes that are still to come; negative if unknown
	held   bool        // guarded by mu: none of it has gone on
	err    error       // guarded by mu: how src ended
	shut   bool        // guarded by mu
}

// A piece is a buffer of which from to to is filled.
type piece struct {
	buf      []byte
	from, to int
}

// init makes a what reads src ahead, of which length bytes will come (negative:
// nobody knows). It is held until hold or answer is called.
func (a *ahead) init(p *proxy, src *body, length int64) {
	a.pool, a.src, a.most, a.rest, a.held = p, src, holdEach, length, true
	a.grown.L = &a.mu
	src.judged = true
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
	timer := time.AfterFunc(a.pool.depot.hold, func() {
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

// ready reports whether Read would not wait.
func (a *ahead) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err != nil || a.someLocked()
}

func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.reads, a.late = true, false
	n, err := a.nextLocked(p)
	a.reads = false
	a.watchLocked(slowAfter)
	return n, err
}

// nextLocked brings the next bytes: what is kept first, in its order.
func (a *ahead) nextLocked(p []byte) (int, error) {
	for a.fills && !a.someLocked() {
		a.grown.Wait()
	}
	switch {
	case a.off < a.filed:
		return a.recallLocked(p)
	case a.someLocked():
		return a.takeLocked(p), nil
	case a.err != nil:
		return 0, a.err
	}
	return a.readLocked(p)
}

// readLocked reads from the source, without the lock, and judges its end, unless
// that is left to hold, or is that of the client.
func (a *ahead) readLocked(p []byte) (int, error) {
	a.mu.Unlock()
	n, err := a.src.Read(p)
	a.mu.Lock()
	if err != nil && err != io.EOF && !a.held && !a.shut {
		a.mu.Unlock()
		err = a.src.broke(err)
		a.mu.Lock()
	}
	a.err = err
	if a.rest >= 0 {
		a.rest = max(a.rest-int64(n), 0)
	}
	return n, err
}

// someLocked reports whether there are bytes to take.
func (a *ahead) someLocked() bool {
	return a.off < a.filed || len(a.pieces) > 0 && a.pieces[0].from < a.pieces[0].to
}

// recallLocked reads from the file, without the lock.
func (a *ahead) recallLocked(p []byte) (int, error) {
	f, off, n := a.file, a.off, min(int64(len(p)), a.filed-a.off)
	x := a.src.try.exchange
	a.mu.Unlock()
	got, err := 0, context.Cause(x.req.Context()) // as if it came from the source
	if err == nil {
		if got, err = f.ReadAt(p[:n], off); err != nil {
			err = fmt.Errorf("response is lost on the disk: %w", err)
			x.broke(err)
		}
	}
	a.mu.Lock()
	if a.shut {
		return 0, http.ErrBodyReadAfterClose
	}
	a.off += int64(got)
	if a.off == a.filed && !a.fills {
		a.unfileLocked()
	}
	return got, err
}

// unfileLocked gives the file back.
func (a *ahead) unfileLocked() {
	f := a.file
	if f == nil {
		return
	}
	a.file, a.filed, a.off = nil, 0, 0
	a.mu.Unlock()
	f.drop()
	a.mu.Lock()
}

// takeLocked moves bytes from the oldest piece to p.
func (a *ahead) takeLocked(p []byte) int {
	first := a.pieces[0]
	n := copy(p, first.buf[first.from:first.to])
	first.from += n
	if first.from == first.to && first != a.busy {
		a.pieces = a.pieces[1:]
		a.dropLocked(first)
	}
	return n
}

func (a *ahead) dropLocked(p *piece) {
	buffers.Put(p.buf)
	a.kept -= len(p.buf)
	a.pool.depot.answers.Give(a.client, int64(len(p.buf)))
}

// watchLocked starts to wait for the client's next read.
func (a *ahead) watchLocked(d time.Duration) {
	switch {
	case a.err != nil || a.fills || a.reads || a.held || a.shut:
	case a.timer == nil:
		a.timer = time.AfterFunc(d, a.slow)
	default:
		a.timer.Reset(d)
	}
}

// slow fills while the client takes its time.
func (a *ahead) slow() {
	a.mu.Lock()
	idle := !a.fills && !a.reads && !a.shut && a.err == nil
	if idle {
		a.fills, a.late = true, true
	}
	a.mu.Unlock()
	if idle {
		a.fill()
	}
}

// fill reads on until the end or a limit. Its caller has set fills.
func (a *ahead) fill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == 0 && a.file == nil {
		a.client = clientOf(a.src.try.exchange.req)
	}
	for a.err == nil && !a.shut {
		if a.off == a.filed && a.filed > 0 {
			a.unfileLocked() // the client has caught up
		}
		last := a.roomLocked()
		if last == nil {
			break
		}
		a.busy = last
		n, _ := a.readLocked(last.buf[last.to:])
		a.busy = nil
		last.to += n
		if last.from == last.to { // it was taken meanwhile, or nothing came
			a.pieces = a.pieces[:len(a.pieces)-1]
			a.dropLocked(last)
		}
		a.grown.Broadcast()
	}
	if a.err != nil && a.file != nil {
		a.storeLocked() // what cannot be stays in memory
		a.file.trim()
	}
	if a.off == a.filed {
		a.unfileLocked()
	}
	a.fills = false
	a.grown.Broadcast()
	if a.late {
		a.watchLocked(roomAfter)
	} else {
		a.watchLocked(slowAfter)
	}
}

// roomLocked returns the piece to read into, or nil at a limit. On the disk goes
// only what memory does not hold for a client that is not there.
func (a *ahead) roomLocked() *piece {
	if n := len(a.pieces); n > 0 && a.pieces[n-1].to < len(a.pieces[n-1].buf) {
		return a.pieces[n-1]
	}
	answers := &a.pool.depot.answers
	if a.file == nil {
		if a.kept+bufferSize <= a.most && answers.Take(a.client, bufferSize, bufferTotal, bufferTotal/4) {
			return a.pieceLocked()
		}
		if a.held || !a.late {
			return nil
		}
		a.file = a.pool.depot.file(a.client)
	}
	if !a.reserveLocked() || !a.storeLocked() {
		return nil
	}
	// What is to be written is in memory for as long as the backend's place is
	// held, whatever else is.
	answers.Take(a.client, bufferSize, math.MaxInt64, math.MaxInt64)
	return a.pieceLocked()
}

// pieceLocked adds a piece, which has been counted.
func (a *ahead) pieceLocked() *piece {
	p := &piece{buf: buffers.Get()}
	a.kept += len(p.buf)
	a.pieces = append(a.pieces, p)
	return p
}

// reserveLocked makes room on the disk for what is in memory and for what comes:
// for all of it, since an answer of which a part is there holds its place all the
// same. Of one whose length nobody knows, for a 16th of a client's share: so few
// at a time are put there, and the most get through.
func (a *ahead) reserveLocked() bool {
	f, n := a.file, max(a.rest, 0)
	if a.rest < 0 {
		n = bufferSize
	}
	for _, p := range a.pieces {
		n += int64(p.to - p.from)
	}
	if f.room() >= n {
		return true
	}
	if a.rest < 0 {
		n = max(n, a.pool.depot.most/64)
	}
	if f.len()+n > fileEach {
		return false
	}
	a.mu.Unlock()
	err := f.reserve(n)
	a.mu.Lock()
	return err == nil
}

// storeLocked moves what is in memory to the file, and reports whether nothing is
// left. The lock is not held while it writes.
func (a *ahead) storeLocked() bool {
	f := a.file
	for len(a.pieces) > 0 && !a.shut {
		p := a.pieces[0]
		from, to := p.from, p.to
		a.busy = p
		a.mu.Unlock()
		err := f.append(p.buf[from:to])
		a.mu.Lock()
		a.busy = nil
		if err == nil {
			a.filed += int64(to - from)
			a.off += int64(p.from - from) // which was taken meanwhile
			p.from = to
		}
		if p.from == to {
			a.pieces = a.pieces[1:]
			a.dropLocked(p)
		}
		a.grown.Broadcast()
		if err != nil {
			return false
		}
	}
	return len(a.pieces) == 0
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
	if a.err == nil || a.someLocked() {
		a.err = http.ErrBodyReadAfterClose
	}
	for _, p := range a.pieces {
		a.dropLocked(p)
	}
	a.pieces = nil
	a.unfileLocked()
	return err
}
