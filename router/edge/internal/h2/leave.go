package h2

import (
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http2"
)

// A parting is how far a connection has left (RFC 9113, section 6.8): first its client is
// told to ask no more, and once it must have heard that, which requests are answered.
type parting uint8

const (
	staying parting = iota
	leaving         // what is on its way is served
	parted          // what comes now is not
)

// farewell is what a PING has that asks whether the client has heard that it should leave.
const farewell = "farewell"

// hearing is how long a client has to say so.
const hearing = time.Second

const everyStream = 1<<31 - 1

// leave has the connection end with what is asked on it, or on its way.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving != staying {
		return
	}
	c.leaving = leaving
	b := c.bufferLocked()
	*b = http2.AppendGoAway(*b, everyStream, x.ErrCodeNo)
	*b = http2.AppendPing(*b, false, []byte(farewell))
	c.carryOnLocked()
	time.AfterFunc(hearing, c.part) // which finds that it was done, as a rule
}

// part says which requests are the last.
func (c *conn) part() {
	c.mu.Lock()
	if c.leaving == parted || c.out.broken != nil {
		c.mu.Unlock()
		return
	}
	c.leaving = parted
	b := c.bufferLocked()
	*b = http2.AppendGoAway(*b, c.last, x.ErrCodeNo)
	c.carryOnLocked()
	give := c.giveLocked()
	c.mu.Unlock()
	if give {
		c.give()
	}
}

// departLocked ends a connection that has left, once all is answered and written.
func (c *conn) departLocked() {
	if c.leaving == parted && len(c.streams) == 0 && !c.asking && !c.out.writing {
		_ = c.wire.SetReadDeadline(past) // its reader closes it; a closed one has ended
		c.wire.Wake()
	}
}

var past = time.Unix(1, 0)

// goodbyeTime is how long the client may take to hear why its connection ends, and what it
// still sends is read: a connection that is closed while its client sends is reset, and
// takes with it what the client has not read yet.
const goodbyeTime = time.Second

// sayGoodbye tells the client why its connection is closed now. It is its reader's.
func (c *conn) sayGoodbye(code http2.ErrCode) {
	c.mu.Lock()
	last := c.last
	until := time.Now().Add(goodbyeTime)
	for c.out.writing && c.out.broken == nil {
		if waitUntil(&c.out.space, until) {
			break
		}
	}
	if c.out.writing || c.out.broken != nil {
		c.mu.Unlock()
		return
	}
	c.out.writing = true
	b := c.bufferLocked()
	*b = http2.AppendGoAway(*b, last, code)
	c.out.buf = nil
	c.mu.Unlock()
	_ = c.nc.SetWriteDeadline(until) // one that is closed shows now
	_, err := c.nc.Write(*b)
	putBuffer(b)
	c.mu.Lock()
	c.out.writing = false
	c.out.broken = errEnded
	c.mu.Unlock()
	if err == nil && code != x.ErrCodeNo {
		c.linger(until)
	}
}

// linger reads what the client still sends.
func (c *conn) linger(until time.Time) {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.nc.SetReadDeadline(until) != nil {
		return
	}
	c.in.Discard(c.in.Buffered())
	for c.in.Fill() == nil {
		c.in.Discard(c.in.Buffered())
	}
}
