package h2

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

const (
	mostGathered = 64 << 10 // is written at once
	atOnce       = 16 << 10 // of one stream's body, before others have their turn
	fewRounds    = 4        // one stream writes for others
)

// out is what is written to a connection. One goroutine writes at a time, whichever comes
// when nobody does, and takes along what the others have ready meanwhile.
type out struct {
	buf     *[]byte   // guarded by mu: frames that are whole; nil: none
	ready   []*stream // guarded by mu: those that have more
	writing bool      // guarded by mu
	broken  error     // guarded by mu: why nothing is sent any more
	space   sync.Cond // on mu: something was written
	turn    uint64    // guarded by mu
}

// bufferLocked returns where frames are put that go out next.
func (c *conn) bufferLocked() *[]byte { return c.roomLocked(64) }

// roomLocked is bufferLocked with room for n bytes.
func (c *conn) roomLocked(n int) *[]byte {
	if c.out.buf == nil {
		c.out.buf = getBuffer()
	}
	c.out.buf = growBuffer(c.out.buf, n)
	return c.out.buf
}

// headersLocked puts a block of fields where it goes out next.
func (c *conn) headersLocked(id uint32, block []byte, end bool) {
	b := c.roomLocked(len(block) + 64)
	if c.peer.table {
		block = append([]byte{http2.NoTable}, block...)
	}
	*b = http2.AppendHeaders(*b, id, block, end, c.peer.frame)
}

// send has what is ready written. It is the reader's, who writes answers of its own himself
// and waits for nobody else: a client that does not read before it has written must be read.
func (c *conn) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers != nil {
		c.handInLocked()
		if !c.out.writing {
			c.writeLocked(nil)
		}
	}
	c.carryOnLocked()
}

// handInLocked puts what the reader has answered behind what goes out next. If the client
// takes nothing for now, nothing more is read of it.
func (c *conn) handInLocked() {
	for c.out.writing && c.out.broken == nil && c.out.buf != nil && len(*c.out.buf) >= mostGathered {
		c.out.space.Wait()
	}
	if c.out.buf == nil {
		c.out.buf = c.answers
	} else {
		b := c.roomLocked(len(*c.answers))
		*b = append(*b, *c.answers...)
		putBuffer(c.answers)
	}
	c.answers = nil
}

// carryOnLocked has what is ready written, by a goroutine of its own unless one is writing.
func (c *conn) carryOnLocked() {
	if c.out.writing || c.out.broken != nil || c.out.buf == nil && c.nextLocked() == nil {
		c.departLocked()
		return
	}
	c.out.writing = true
	go func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writeLocked(nil)
	}()
}

// wakeLocked has a stream go on that may, if nobody is writing.
func (c *conn) wakeLocked() {
	if !c.out.writing {
		if s := c.nextLocked(); s != nil {
			s.cond.Broadcast()
		}
	}
}

// writeLocked writes until there is nothing more that may be written; or, for a stream
// whose own is written, until it has written for others for a while. It unlocks mu
// meanwhile.
func (c *conn) writeLocked(s *stream) {
	c.out.writing = true
	for round := 0; c.out.broken == nil && c.gatherLocked(); round++ {
		if s != nil && round >= fewRounds && !s.queued {
			go func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.writeLocked(nil)
			}()
			return
		}
		b := c.out.buf
		c.out.buf = nil
		c.mu.Unlock()
		_, err := c.nc.Write(*b)
		putBuffer(b)
		if err != nil {
			c.cut(unwritten(err))
		}
		c.mu.Lock()
		c.out.space.Broadcast()
	}
	c.out.writing = false
	c.out.space.Broadcast()
	c.departLocked()
}

// unwritten names an error of a write: a client that takes too long is still there.
func unwritten(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", h1.ErrGone, err)
}

// gatherLocked puts what streams have behind what goes out next, as much as is written at
// once, and reports whether there is something to write.
func (c *conn) gatherLocked() bool {
	for c.out.buf == nil || len(*c.out.buf) < mostGathered {
		s := c.nextLocked()
		if s == nil {
			break
		}
		c.takeTurnLocked(s)
	}
	return c.out.buf != nil && len(*c.out.buf) > 0
}

// nextLocked returns the stream that is to be sent next, of those that may (RFC 9218,
// section 10): the most urgent ones, and of these those that are of use as a whole only, one
// after the other, before those that take turns.
func (c *conn) nextLocked() (next *stream) {
	for _, s := range c.out.ready {
		if len(s.data) > 0 && (s.window <= 0 || c.peer.window <= 0) {
			continue
		}
		if next == nil || s.before(next) {
			next = s
		}
	}
	return next
}

// before reports whether s goes before other.
func (s *stream) before(other *stream) bool {
	p, q := s.priority, other.priority
	switch {
	case p.Urgency != q.Urgency:
		return p.Urgency < q.Urgency
	case p.Incremental != q.Incremental:
		return q.Incremental
	case p.Incremental:
		return s.turn < other.turn
	}
	return s.id < other.id
}

// takeTurnLocked puts some of what s has where it goes out next.
func (c *conn) takeTurnLocked(s *stream) {
	c.out.turn++
	s.turn = c.out.turn
	n := min(len(s.data), atOnce, c.peer.frame, max(int(s.window), 0), max(int(c.peer.window), 0))
	s.window.Take(n)
	c.peer.window.Take(n)
	rest := s.data[n:]
	end := s.last && len(rest) == 0
	if n > 0 || end && s.trailer == nil {
		b := c.roomLocked(n + 64)
		*b = http2.AppendData(*b, s.id, s.data[:n], end && s.trailer == nil)
		c.account.Earn(http2.EarnData)
	}
	s.data = rest
	if len(rest) > 0 {
		s.moved = time.Now()
		return
	}
	if end && s.trailer != nil {
		c.headersLocked(s.id, s.trailer, true)
	}
	s.queued = false
	c.unreadyLocked(s)
	if end {
		s.endLocked()
	}
	s.cond.Broadcast()
}

func (c *conn) unreadyLocked(s *stream) {
	for i, r := range c.out.ready {
		if r == s {
			last := len(c.out.ready) - 1
			c.out.ready[i] = c.out.ready[last]
			c.out.ready[last] = nil
			c.out.ready = c.out.ready[:last]
			return
		}
	}
}

// waitUntil waits on cond, until t at most, which may be zero, and reports whether that has
// come.
func waitUntil(cond *sync.Cond, t time.Time) (late bool) {
	if t.IsZero() {
		cond.Wait()
		return false
	}
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.AfterFunc(d, func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		cond.Broadcast()
	})
	defer timer.Stop()
	cond.Wait()
	return !time.Now().Before(t)
}
