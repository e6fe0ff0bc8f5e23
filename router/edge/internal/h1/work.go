package h1

import (
	"sync"

	"github.com/foretier/foretier/internal/http1"
)

// A work is what a connection has only while something is asked on it. Who is next
// gets the one that was used last, which is still in the processor's cache.
type work struct {
	buf    http1.Buffer // what was read and is not used yet
	head   http1.Head   // of the request, in buf's memory
	body   body         // of the request
	listen listener     // what notices a client's leaving where nothing else does
	fields []field      // of a header; scratch
	suite  suite        // the last request's, if it has come back
}

// A suite is what a request is made of but its text: see [transit.Loan]. Its zero value
// is none.
type suite struct {
	response *response
	room     http1.Room // of the request, whose context is the response's
}

// lend returns what the next request is made of.
func (w *work) lend() suite {
	s := w.suite
	w.suite = suite{}
	if s.response == nil {
		s.response = new(response)
	}
	return s
}

// takeBack keeps what a request was made of, which nobody has in hand any more.
func (w *work) takeBack(s suite) {
	*s.response = response{}
	s.room.Reset()
	w.suite = s
}

var works = sync.Pool{New: func() any { return new(work) }}

// Take implements [wire.Room]: there is something to read.
func (c *conn) Take() []byte {
	if c.work == nil {
		c.work = works.Get().(*work)
		c.body.c = c
		c.buf.Reset(c.nc)
	}
	return c.buf.Room()
}

// Return implements [wire.Room]: there is not, and all that was read is used.
func (c *conn) Return() {
	if c.work == nil {
		return
	}
	c.head.Reset()
	c.body.c = nil
	c.buf.Reset(nil)
	works.Put(c.work)
	c.work = nil
}
