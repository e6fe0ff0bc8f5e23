package http1

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// A Reply is the answer to a call: its head, which is a copy of what the server sent
// and stays as it is, and its body. At the end of that the connection is kept or
// closed.
type Reply struct {
	*Head
	// Trailer has the fields behind the body: at first the names that the head
	// announces, once the body has ended what has come.
	Trailer http.Header

	cn   *conn
	ctx  context.Context // of the call, for the cause of an error
	call *Call
	src  Body
	wait Wait // for ctx to end
	last bool // the connection's last response
	over atomic.Bool
}

// answer makes the response with this head the call's.
func (cn *conn) answer(ctx context.Context, call *Call, h *Head, wait Wait) {
	cn.learn(h)
	if old := h.Minor == 0; old != cn.owner.old.Load() {
		cn.owner.old.Store(old)
	}
	r := &call.reply
	r.Head, r.cn, r.ctx, r.call, r.wait = h, cn, ctx, call, wait
	if h.Status == http.StatusSwitchingProtocols {
		return
	}
	r.last = h.Close || h.bodyAfterNone() || call.login || h.LoggedIn()
	if h.chunked && h.saysTrailer {
		r.Trailer = h.announced()
	}
	r.src.Reset(&cn.in, h)
	r.src.Trailer = &r.Trailer
	if r.src.Ended() {
		r.end(true)
		return
	}
	if r.Whole() || r.arrives(call.Page) { // nothing is waited for any more
		return
	}
	cn.until, cn.by = time.Time{}, time.Time{}
	if err := cn.nc.SetReadDeadline(time.Time{}); err != nil {
		r.last = true // what is read next tells
	}
	cn.idle = max(call.Idle, 0)
}

// learn takes the server's word for how long it keeps idle connections, less a
// second for the way.
func (cn *conn) learn(h *Head) {
	for i := range h.fields {
		if h.fields[i].id != nameKeepAlive {
			continue
		}
		line := [1]string{h.fields[i].value.of(h.b)}
		for p := range fields.Members(line[:]) {
			name, value, _ := strings.Cut(p, "=")
			if !fields.EqualFold(strings.TrimSpace(name), "timeout") {
				continue
			}
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n >= 0 {
				cn.keep = min(KeepIdle, time.Duration(n-1)*time.Second)
			}
		}
	}
}

// Response returns the reply as an [http.Response], which is closed in its place.
func (r *Reply) Response() *http.Response {
	res := r.Head.Response(r.call.Request, nil)
	if res.ContentLength < 0 {
		if n := r.ContentLength(); n >= 0 {
			res.ContentLength, res.TransferEncoding = n, nil
		}
	}
	switch {
	case r.Status == http.StatusSwitchingProtocols:
		res.Body = r.Tunnel()
	case !r.Ended():
		res.Body = r
		r.src.Trailer = &res.Trailer
	}
	return res
}

// Tunnel returns the connection of a reply of 101, which is closed in its place. It is
// an [io.Writer] too.
func (r *Reply) Tunnel() io.ReadCloser { return &tunnel{cn: r.cn, wait: r.wait} }

// Ended reports whether the body has been read to its end, or is none.
func (r *Reply) Ended() bool { return r.src.Ended() }

// Read reads the body.
func (r *Reply) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if err == nil {
		return n, nil
	}
	r.end(err == io.EOF)
	if err != io.EOF {
		err = explain(r.ctx, r.call, err, "nothing inside the response", r.call.Idle)
	}
	return n, err
}

// An Arriving body is one of this package's responses.
type Arriving interface {
	// Whole reports whether all of it is here already. It is asked before the
	// first Read.
	Whole() bool
}

// Whole reports whether all of the body is here already, so that nothing can go
// wrong with it any more. It is asked before the first Read.
func (r *Reply) Whole() bool {
	here := r.cn.in.Bytes()
	if left := r.src.Left(); left >= 0 {
		return int64(len(here)) >= left
	}
	return r.Length == chunked && r.src.outline(here).whole
}

// ContentLength is that of the response's head, or, if all is here already and no trailers
// follow, how much that is; -1 if neither says. It is asked before the first Read.
func (r *Reply) ContentLength() int64 {
	if r.Length != chunked || r.Trailer != nil {
		return r.Head.ContentLength()
	}
	if o := r.src.outline(r.cn.in.Bytes()); o.whole && !o.trailed {
		return o.size
	}
	return -1
}

// arrives reads what has come of a body of at most so many bytes, and reports whether that
// is all of it. One that only the connection's end ends is not read: a socket tells of an
// error once, and what is read next would take the end behind it for the body's.
func (r *Reply) arrives(most int) bool {
	cn := r.cn
	left := r.src.Left()
	if left > int64(most) || left < 0 && r.Length != chunked || !cn.plain() {
		return false
	}
	cn.in.Grow(int(left))
	const times = 8 // or a server that sends byte by byte has all of it looked at as often
	for range times {
		if cn.in.Buffered() >= most || !cn.arrive() {
			return false
		}
		if r.Whole() {
			return true
		}
	}
	return false
}

// Close gives up what was not read.
func (r *Reply) Close() error {
	r.end(false)
	return nil
}

// end lets go of the connection, once. Whoever comes second does not wait for that.
func (r *Reply) end(whole bool) {
	if r.over.Swap(true) {
		return
	}
	cn := r.cn
	live := r.wait.End() // nobody interrupts it any more
	// A Close may come while another goroutine reads: what reading changes
	// is looked at only at the body's end.
	if !whole || !live || r.last || cn.broken || cn.keep <= 0 || cn.in.Buffered() > 0 || !cn.upload.done() {
		cn.close()
		cn.upload.abandon()
		return
	}
	cn.in.Free()
	cn.owner.put(cn)
}
