package h2

import (
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// flushLocked has what is in out written.
func (c *conn) flushLocked() {
	if c.deaf != nil {
		c.out = c.out[:0] // nobody takes it
	}
	if c.writing || c.broken != nil || len(c.out) == 0 {
		return
	}
	c.writing = true
	go c.write() // until there is nothing more, or the connection ends
}

// mostSpare is what is kept of memory for frames.
const mostSpare = 64 << 10

// write writes what is in out until there is nothing more.
func (c *conn) write() {
	c.mu.Lock()
	for c.broken == nil && len(c.out) > 0 {
		if c.catchUpLocked(); c.broken != nil {
			break
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		for _, s := range c.starting {
			if s.end == nil {
				s.call.SetSent(true)
			}
		}
		clear(c.starting)
		c.starting = c.starting[:0]
		c.mu.Unlock()
		err := c.nc.SetWriteDeadline(time.Now().Add(writeStall))
		if err == nil {
			_, err = c.nc.Write(b)
		}
		c.mu.Lock()
		if err != nil {
			c.unheardLocked(err)
		}
		if cap(b) <= mostSpare {
			c.spare = b[:0]
		}
		for _, s := range c.streams {
			if s.crowded {
				s.cond.Broadcast()
			}
		}
	}
	c.writing = false
	closing := c.closing && c.deaf == nil
	c.mu.Unlock()
	if closing {
		c.fail(errClosed)
	}
}

// catchUpLocked gives the reader a moment for what has come already, before requests are
// sent: if that is a GOAWAY, or the end, they may be sent elsewhere. A backend that closes
// with a request unread resets the connection, which takes away what it has said.
func (c *conn) catchUpLocked() {
	const looks, pause = 10, 100 * time.Microsecond
	for range looks {
		frames := c.frames
		if c.raw == nil || len(c.starting) == 0 || c.broken != nil {
			return
		}
		c.mu.Unlock()
		quiet := http1.Quiet(c.raw)
		if !quiet {
			time.Sleep(pause) // of what the reader has not taken nothing tells but a look
		}
		c.mu.Lock()
		if quiet || c.frames != frames {
			return
		}
	}
}

// unheardLocked says that the backend takes nothing more. It may have said something before,
// which is still to be read: an answer, or that it goes away.
func (c *conn) unheardLocked(err error) {
	c.deaf, c.leaving = err, true
	c.out = nil
	_ = c.nc.SetReadDeadline(time.Now().Add(grace)) // else the next read fails at once
}
