package h2

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// A Quick [h1.Owner] answers some requests from their heads, which costs neither a request
// nor a handler. It does so on the goroutine of the connection, and keeps between the calls
// what it is about to answer.
type Quick interface {
	// KnownWithin says what is known of an answer to head, which is that of a GET
	// without a body, and how long its body is: no more than most, else the handler is
	// to answer.
	KnownWithin(head *http1.Head, most int) (k h1.Known, length int)
	// AppendBlock appends the fields of the answer.
	AppendBlock(b []byte, date func([]byte, time.Time) []byte) []byte
	// AppendBody appends its body, and counts the answer as given.
	AppendBody(b []byte) []byte
}

// mostInstant is the largest body that is answered so: others go out in turns.
const mostInstant = 32 << 10

// instant answers the request whose head was read, or reports that its handler has to.
func (c *conn) instant() bool {
	b := &c.block
	b.known = h1.Nothing
	if c.quick == nil || !b.end || b.head.Method != http.MethodGet || b.head.Upgrade != "" || c.srv.conns.Draining() {
		return false
	}
	most := c.reserve()
	known, length := c.quick.KnownWithin(&b.head, most)
	b.known = known
	if known != h1.Answer {
		c.unreserve(most, 0)
		return false
	}
	c.unreserve(most-length, http2.EarnRequest)
	if c.answers == nil {
		c.answers = getBuffer()
	}
	block := b.scratch[:0]
	if c.peer.table {
		block = append(block, http2.NoTable)
	}
	block = c.quick.AppendBlock(block, appendDate)
	b.scratch = block
	c.answers = growBuffer(c.answers, len(block)+length+128)
	out := http2.AppendHeaders(*c.answers, b.stream, block, length == 0, http2.MinFrame)
	*c.answers = appendWhole(out, b.stream, length, c.quick.AppendBody)
	if len(*c.answers) >= mostGathered {
		c.send()
	}
	return true
}

// reserve takes of the windows what an answer may have that goes out at once.
func (c *conn) reserve() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.window.Take(min(mostInstant, int(c.peer.initial)))
}

// unreserve gives back what was reserved and is not used, and credits what was answered.
func (c *conn) unreserve(n int, earned int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer.window.Add(int32(n)) // of which it was taken
	c.account.Earn(earned)
}

// appendWhole appends a body of this length, all of it, in as many frames as it takes.
func appendWhole(b []byte, stream uint32, length int, body func([]byte) []byte) []byte {
	if length == 0 {
		return body(b)
	}
	at := len(b)
	first := min(length, http2.MinFrame)
	b = body(http2.AppendHeader(b, first, 0, flagEnd(length == first), stream))
	for at, length = at+frameHeader+first, length-first; length > 0; {
		n := min(length, http2.MinFrame)
		length -= n
		b = append(b, make([]byte, frameHeader)...)
		copy(b[at+frameHeader:], b[at:])
		http2.AppendHeader(b[:at], n, 0, flagEnd(length == 0), stream)
		at += frameHeader + n
	}
	return b
}

const frameHeader = 9

func flagEnd(end bool) http2.Flags {
	if end {
		return 1
	}
	return 0
}
