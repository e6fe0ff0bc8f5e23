package h2

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/scope"
)

// A stream is one request and its answer. All of it is one piece of memory, but for what
// may serve another one.
type stream struct {
	c      *conn
	id     uint32
	body   body // of the request
	*suite      // nil once it serves another one, or may
	whole  bool // the handler has returned, and all of the answer is on its way; it is its goroutine's

	// All that follows is guarded by c.mu.
	cond     sync.Cond // on c.mu: what is said here or in body has changed
	window   http2.Window
	priority http2.Priority
	turn     uint64    // of those that take turns, when it had its last
	data     []byte    // of the body, that is to be sent
	trailer  []byte    // the block behind it; nil: none
	last     bool      // the answer ends with them
	queued   bool      // there is something of it to be sent
	moved    time.Time // when some of that was sent, or it began to wait
	ended    bool      // all of the answer is on its way
	zombie   bool      // it was reset
	returned bool      // the handler has, and nobody reads the body any more
	failed   error     // why nothing more is sent or read; nil: it may be
	writeBy  time.Time
}

// A suite is what a request and its answer are made of but their text: see
// [transit.Loan].
type suite struct {
	scope scope.Scope // of the request
	response
	room http1.Room // of the request, whose context is the scope
}

var suites = sync.Pool{New: func() any { return new(suite) }}

// reuse gives the suite to others: nobody has it in hand any more.
func (u *suite) reuse() {
	u.scope, u.response = scope.Scope{}, response{}
	u.room.Reset()
	suites.Put(u)
}

// serve has the handler answer a request, in a goroutine of its own.
func (c *conn) serve(id uint32, end bool) error {
	s := &stream{c: c, id: id, priority: c.block.req.Priority(), suite: suites.Get().(*suite)}
	s.cond.L = &c.mu
	s.scope.Context = c.ctx
	rec := s.scope.Record()
	rec.Loan.Hand(c.srv.Handler)
	if c.block.known == h1.Unknown {
		rec.Lesson.Hand(c.srv.Handler)
	}
	s.body.begin(s, &c.block.head, end)
	r, err := c.block.head.RequestIn(&s.room, &s.scope, &s.body)
	if err != nil {
		return err
	}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.RemoteAddr, r.TLS = c.remote, c.secure
	r.Trailer = announced(r.Header)
	s.body.trailers = &r.Trailer
	s.response.s, s.r, s.header = s, r, s.room.Answer()
	if c.block.req.Protocol() != "" {
		s.connect(r)
	}
	c.mu.Lock()
	s.window = http2.Window(c.peer.initial)
	c.streams[id] = s
	c.handlers++
	c.mu.Unlock()
	c.wire.Go(s)
	return nil
}

// Run implements [wire.Runner]: it calls the handler, and ends the answer.
func (s *stream) Run() {
	defer s.done()
	returned := s.call(s.r)
	if s.tunnel != nil {
		if returned {
			s.scope.End(context.Canceled)
			s.tunnel.wait()
		}
		return
	}
	c := s.c
	c.mu.Lock()
	s.returned = true
	c.mu.Unlock()
	if s.whole = returned && s.finish(); !s.whole {
		s.breakOff()
	}
}

// call calls the handler, and reports whether it has returned.
func (s *stream) call(r *http.Request) (returned bool) {
	defer func() {
		if returned {
			return
		}
		// nil: the handler ends its goroutine.
		if v := recover(); v != nil && v != http.ErrAbortHandler && s.c.srv.Panicked != nil {
			s.c.srv.Panicked(v)
		}
	}()
	s.c.srv.Handler.ServeHTTP(&s.response, r)
	return true
}

// breakOff sends what is there of an answer that its handler has broken off, so that its
// client sees that there was one, and that it is not whole.
func (s *stream) breakOff() {
	if s.status != 0 {
		_ = s.flush(false)
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ended || s.failed != nil {
		return
	}
	s.closeLocked()
	s.failLocked(http.ErrAbortHandler)
	c.dropLocked(s.id)
	b := c.bufferLocked()
	*b = http2.AppendReset(*b, s.id, x.ErrCodeInternal)
	c.carryOnLocked()
}

// done forgets a request whose handler has returned, or ended its goroutine.
func (s *stream) done() {
	s.scope.End(context.Canceled)
	if s.tunnel != nil {
		_ = s.tunnel.Close() // it may be closed
	}
	s.drop()
	c := s.c
	c.mu.Lock()
	if !s.ended && s.failed == nil { // the handler has ended its goroutine
		s.closeLocked()
		s.failLocked(http.ErrAbortHandler)
		b := c.bufferLocked()
		*b = http2.AppendReset(*b, s.id, x.ErrCodeInternal)
		c.carryOnLocked()
	}
	if s.zombie {
		c.zombies--
	}
	if s.tunnel != nil {
		c.tunnels--
		c.srv.tunnels.Add(-1)
	}
	s.body.forgetLocked()
	c.handlers--
	if c.handlers == 0 {
		c.since = time.Now()
	}
	c.restLocked()
	gone, give := c.closed && c.handlers == c.tunnels, c.giveLocked()
	c.mu.Unlock()
	// Of one that is whole nobody else knows any more; who has failed another may be about
	// to end its scope.
	if s.whole && !s.scope.Asked() && s.scope.Record().Loan.End() {
		s.suite.reuse()
		s.suite = nil
	}
	switch {
	case gone:
		c.srv.conns.Remove(c)
	case give:
		c.give()
	}
}

// endLocked ends a stream whose answer is on its way. What its client still sends of the
// request it is told to keep (RFC 9113, section 8.1).
func (s *stream) endLocked() {
	c := s.c
	s.ended = true
	delete(c.streams, s.id)
	c.account.Earn(http2.EarnRequest)
	if s.body.end == nil {
		s.body.end = http.ErrBodyReadAfterClose
		c.dropLocked(s.id)
		b := c.bufferLocked()
		*b = http2.AppendReset(*b, s.id, x.ErrCodeNo)
	}
}

// closeLocked takes a stream that was reset, by whomever, off those that are open. Its
// handler counts until it has returned.
func (s *stream) closeLocked() {
	delete(s.c.streams, s.id)
	s.zombie = true
	s.c.zombies++
}

// failLocked has whoever waits for the stream go on: nothing more is sent or read. Its
// caller ends its scope.
func (s *stream) failLocked(cause error) {
	if s.failed == nil {
		s.failed = cause
	}
	if s.queued {
		s.queued = false
		s.c.unreadyLocked(s)
	}
	s.body.failLocked(cause)
	s.cond.Broadcast()
}

// send sends a block of fields, unless that is nil, and then data, behind which the answer
// ends if last, with trailers perhaps. It waits until all is on its way, and nobody looks at
// data any more.
func (s *stream) send(block, data []byte, last bool, trailer []byte) error {
	late, err := s.push(block, data, last, trailer)
	if late {
		s.giveUp(err)
	}
	return err
}

func (s *stream) push(block, data []byte, last bool, trailer []byte) (late bool, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.failed != nil {
		return false, s.failed
	}
	if !s.writeBy.IsZero() && !time.Now().Before(s.writeBy) {
		return true, os.ErrDeadlineExceeded
	}
	if s.ended && s.tunnel != nil {
		return false, net.ErrClosed
	}
	last = last && !s.ended
	whole := last && len(data) == 0 && trailer == nil
	if block != nil {
		c.headersLocked(s.id, block, whole)
		if whole {
			s.endLocked()
		}
	}
	if len(data) > 0 || last && !s.ended {
		s.data, s.last, s.trailer, s.queued, s.moved = data, last, trailer, true, time.Time{}
		s.turn = c.out.turn
		c.out.ready = append(c.out.ready, s)
	}
	for {
		switch {
		case s.failed != nil:
			return false, s.failed
		case c.out.broken != nil:
			return false, c.out.broken
		case c.out.writing || c.out.buf == nil && c.nextLocked() == nil:
			if !s.queued {
				return false, nil // it is taken along, or written
			}
		case s.writeBy.IsZero():
			c.writeLocked(s)
			continue
		default: // who writes waits for the client, and cannot be interrupted
			c.carryOnLocked()
			if !s.queued {
				return false, nil
			}
			continue
		}
		if s.moved.IsZero() {
			s.moved = time.Now()
		}
		if waitUntil(&s.cond, s.untilLocked()) && s.failed == nil && s.queued && !time.Now().Before(s.untilLocked()) {
			return true, os.ErrDeadlineExceeded
		}
	}
}

// untilLocked returns when the client must have taken something of what is sent.
func (s *stream) untilLocked() time.Time {
	limit := s.c.srv.WriteStall
	if s.tunnel != nil {
		limit = s.c.srv.UpgradeIdle
	}
	if limit > 0 {
		return earlier(s.moved.Add(limit), s.writeBy)
	}
	return s.writeBy
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// giveUp resets a stream whose client takes nothing of the answer.
func (s *stream) giveUp(cause error) {
	c := s.c
	c.mu.Lock()
	if s.failed == nil && !s.ended {
		s.closeLocked()
		c.dropLocked(s.id)
		b := c.bufferLocked()
		*b = http2.AppendReset(*b, s.id, x.ErrCodeCancel)
		c.carryOnLocked()
	}
	s.failLocked(cause)
	c.mu.Unlock()
	s.scope.End(cause)
}
