package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// A stream is one call and its answer.
type stream struct {
	c      *conn
	id     uint32
	call   *http1.Call
	reused bool   // the connection was there before
	seen   uint64 // frames that had come before
	reply  Reply

	// All that follows is guarded by c.mu.
	cond     sync.Cond // on c.mu: what is said here has changed
	window   http2.Window
	sent     bool // all of the request is on its way
	crowded  bool // whoever sends it waits until there is less to be written
	heads    [][]byte
	told     int  // bytes of them
	final    bool // the last of them is the answer's
	answered bool // its caller has that
	pieces   http2.Pieces
	intake   http2.Intake
	tail     http.Header // what has come behind the body
	end      error       // why no more comes: io.EOF for the end of the answer; nil: more does
	given    bool        // up, by its caller, who wants nothing of it any more
	silent   bool        // the connection ended before anything came, and was an old one
	orphaned time.Time   // since when nobody waits for the end; zero: somebody does

	timer *time.Timer // comes for late; nil until there is a limit
	by    time.Time   // when something must have happened; zero: there is no limit
	what  string      // else did not come
	limit time.Duration
}

// failLocked says that nothing more comes. What has come to its end has.
func (s *stream) failLocked(err error) {
	if s.end == nil {
		s.end = err
	}
	s.sent = true // or nobody wants the rest
	s.cond.Broadcast()
}

// endLocked says that the answer has come to its end.
func (s *stream) endLocked() {
	s.end = io.EOF
	s.c.account.Earn(http2.EarnRequest)
	s.closeLocked()
}

// closeLocked takes the stream off those that are open, if it has ended on both sides.
func (s *stream) closeLocked() {
	if c := s.c; s.sent && s.end != nil && c.streams[s.id] == s {
		delete(c.streams, s.id)
		c.idleLocked()
	}
}

// resetLocked gives up a stream that has not ended on both sides.
func (s *stream) resetLocked(code http2.ErrCode) {
	c := s.c
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	// What it may still say before it knows is bounded, and costs it nothing.
	c.stray += int64(s.intake.Left())
	c.account.Earn(3 * http2.CostFrame)
	c.out = http2.AppendReset(c.out, s.id, code)
	c.flushLocked()
	c.idleLocked()
}

// giveUp ends the stream for its caller.
func (s *stream) giveUp(err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	code := x.ErrCodeCancel
	if s.end == io.EOF { // of the request nothing more is wanted
		code = x.ErrCodeNo
	}
	s.given, s.end = true, err
	s.limitLocked(0, "")
	s.sent = true
	s.resetLocked(code)
	c.tellLocked(nil, s.pieces.Drop())
	s.cond.Broadcast()
}

var (
	errInterrupted = errors.New("the wait for the backend was interrupted")
	errShut        = errors.New("read after the response was closed")
)

// Interrupt implements [http1.Interrupter].
func (s *stream) Interrupt() { s.giveUp(errInterrupted) }

// limitLocked says that the next has to happen within d; 0 and less: whenever it does.
func (s *stream) limitLocked(d time.Duration, what string) {
	if d <= 0 {
		if s.by = (time.Time{}); s.timer != nil {
			s.timer.Stop() // or it would keep the stream
		}
		return
	}
	s.by, s.what, s.limit = time.Now().Add(d), what, d
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.late)
	} else {
		s.timer.Reset(d)
	}
}

// late gives the stream up if what had to happen has not.
func (s *stream) late() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.by.IsZero() || time.Now().Before(s.by) || s.end != nil {
		return
	}
	s.failLocked(&http1.TimeoutError{What: s.what, Limit: s.limit})
	if c.frames == s.seen { // others would wait for nothing as well
		c.leaving = true
	}
	s.resetLocked(x.ErrCodeCancel)
}

// exchange sends what follows the head of the request, and returns the reply.
func (s *stream) exchange(ctx context.Context) (*Reply, error) {
	call := s.call
	wait := http1.WaitFor(ctx, s.Interrupt)
	var up *upload
	err := call.Attach(s)
	if err == nil {
		up, err = s.send()
	}
	if err == nil {
		err = s.answer(ctx)
	}
	if err == nil {
		err = call.Detach(true)
	}
	if err != nil {
		wait.End()
		s.giveUp(err)
		up.abandon()
		return nil, s.explain(ctx, err)
	}
	r := &s.reply
	r.ctx, r.wait, r.upload = ctx, wait, up
	if r.Length == 0 { // whatever follows, nobody reads it
		r.once.Do(r.part)
	}
	return r, nil
}

// explain names the error by its first cause.
func (s *stream) explain(ctx context.Context, err error) error {
	if broken := s.call.Detach(false); broken != nil {
		return broken
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// answer waits for the head of the final answer, and tells of those before it.
func (s *stream) answer(ctx context.Context) error {
	h := s.call.Head
	if h == nil {
		h = new(http1.Head)
	}
	s.reply.s, s.reply.Head = s, h
	for {
		text, err := s.nextHead()
		if err != nil {
			return err
		}
		h.Reset()
		n, err := h.ParseResponse(text, s.call.Request.Method == http.MethodHead, &http1.Limits{})
		switch {
		case err != nil:
			return err
		case n != len(text): // cannot be: no value has a line's end
			return errors.New("malformed HTTP response: one within another")
		}
		if h.Status >= 200 {
			break
		}
		if err := s.call.Told(ctx, h); err != nil {
			return err
		}
	}
	if h.LoggedIn() {
		s.c.retire()
	}
	return s.reply.begin()
}

// retire has the connection take no more requests.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked()
}

// nextHead waits for a head.
func (s *stream) nextHead() ([]byte, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(s.heads) == 0 {
		if s.end != nil {
			if s.end == io.EOF {
				return nil, fmt.Errorf("no response: %w", io.ErrUnexpectedEOF)
			}
			return nil, s.end
		}
		s.cond.Wait()
	}
	text := s.heads[0]
	if s.heads = s.heads[1:]; len(s.heads) == 0 && s.final {
		s.answered = true
		s.limitLocked(0, "")
	}
	return text, nil
}
