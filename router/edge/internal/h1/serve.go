package h1

import (
	"context"
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// serve has the handler answer the request whose head was read.
func (c *conn) serve() step {
	lent := c.lend()
	then := c.answer(&lent)
	if scope := &lent.response.scope; then == onward && !scope.Asked() && scope.Record().Loan.End() {
		c.takeBack(lent)
	}
	return then
}

// answer is serve with what the request is made of.
func (c *conn) answer(of *suite) step {
	w := of.response
	w.scope.Context = c.ctx
	defer c.forget(w)
	rec := w.scope.Record()
	rec.Loan.Hand(c.srv.Handler)
	if c.plain {
		rec.Lesson.Hand(c.srv.Handler)
	}
	c.body.begin()
	r, err := c.head.RequestIn(&of.room, &w.scope, &c.body)
	if err != nil {
		return c.refuse(err)
	}
	r.RemoteAddr, r.TLS = c.remote, c.secure
	c.body.src.Trailer = &r.Trailer
	w.c, w.r, w.header = c, r, of.room.Answer()
	c.serves(&w.scope)
	watched := c.wire.Watch(&c.leave)
	if !watched {
		c.listen.want(c)
	}
	returned := c.call(w, r)
	if !watched {
		c.listen.stop(c)
	}
	c.wire.Unwatch()
	c.serves(nil)
	switch {
	case c.hijacked:
		return away
	case !returned:
		c.breakOff(w)
		return over
	}
	return c.settle(w)
}

// mostKept is for how many fields of a header there is room in what others use next.
const mostKept = 256

// forget ends the request and lets go of it: what hangs on it may be large, and the
// connection may idle, or take long to end.
func (c *conn) forget(w *response) {
	w.scope.End(context.Canceled)
	c.body.src = http1.Body{}
	clear(c.fields)
	if cap(c.fields) > mostKept {
		c.fields = nil
	}
}

// call calls the handler, and reports whether it has returned.
func (c *conn) call(w *response, r *http.Request) (returned bool) {
	defer func() {
		if returned {
			return
		}
		// nil: the handler ends its goroutine.
		if v := recover(); v != nil && v != http.ErrAbortHandler && c.srv.Panicked != nil {
			c.srv.Panicked(v)
		}
	}()
	c.srv.Handler.ServeHTTP(w, r)
	return true
}

// breakOff sends what is there of an answer that its handler has broken off,
// so that its client sees that there was one, and that it is not whole.
func (c *conn) breakOff(w *response) {
	if w.status == 0 {
		return
	}
	err := w.flush(false, 0)
	switch {
	case w.length < 0 && !w.chunk:
		c.wire.Reset() // or its end would be that of the body
	case err == nil:
		c.part()
	}
}

// part lets the client read what it has been sent, if it may be sending itself.
func (c *conn) part() {
	if c.buf.Buffered() > 0 || !c.body.ended() {
		c.linger()
	}
}

// settle ends the exchange: the answer goes out, and what is left of the
// request's body is read, if that is little.
func (c *conn) settle(w *response) step {
	if !w.finish() {
		if w.err == nil {
			c.part()
		}
		return over
	}
	if !c.body.drain() || w.close {
		c.part()
		return over
	}
	if c.wire.Bounded() && c.wire.SetDeadline(time.Time{}) != nil {
		return over
	}
	return onward
}
