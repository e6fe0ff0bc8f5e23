package balancer

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// A passage is a request on the pool's own way: from the server's request to the wire,
// and from the wire into the server's header map. There is no [http.Request] for the
// backend and no [http.Response] of it, and of header maps only one, for what is sent.
// A backend in this process or behind a transport of the user's has both:
// the way to it is known once it is picked.
//
// It tries, holds, reads ahead and judges by the same exchange as RoundTrip. What it
// leaves to [httputil.ReverseProxy] are requests with Upgrade, whose connection may
// become somebody else's, and all of a pool with [Options.Rewrite], which is given a
// request to change.
type passage struct {
	answering
	exchange exchange
	values   [24]string // memory for those of the answer's fields

	mu   sync.Mutex
	over bool // guarded by mu: the final answer begins, or there is none
}

// direct serves r on the pool's own way.
func (p *proxy) direct(w http.ResponseWriter, r *http.Request, coming *coming, lent bool) {
	d := passages.Get().(*passage)
	d.answering = answering{ResponseWriter: w, body: coming.watched(), old: !r.ProtoAtLeast(1, 1)}
	x := &d.exchange
	x.pool, x.timeouts, x.rec, x.req, x.passage = p, p.opts.Timeouts, transit.From(r.Context()), r, d
	if coming != nil && r.ContentLength != 0 {
		x.body, x.uploads = coming.body, &coming.uploads
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	x.head, x.out = &s.head, s.header
	if p.shown {
		x.out = make(http.Header, len(r.Header)+8)
	}
	p.onward(x.out, r)
	if p.shown {
		x.req = x.show(r)
	}
	x.rec.Sent = x.out
	defer func() { x.rec.Sent = nil }() // it may serve another request
	a, err := x.run()
	d.end()
	if err != nil {
		p.fail(&d.answering, x.req, err)
		return
	}
	if err := d.deliver(a); err != nil && r.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler) // what has gone out must not look whole
	}
	if lent && d.keepsNothing(a) {
		x.rec.Loan.Add(d)
		x.rec.Loan.Return()
	}
}

// keepsNothing reports whether nobody has the request or the passage in hand any more, once
// a was delivered: it was one page, which the first server that was asked has sent at once,
// the request's body was read to its end, and none but the pool's own parts have seen
// anything of it.
func (d *passage) keepsNothing(a *answer) bool {
	x := &d.exchange
	return a.page && x.first.own && x.before == nil && (x.spool == nil || x.spool.readToEnd()) && !x.pool.shown &&
		x.pool.opts.Trace == nil && x.timeouts.Total <= 0
}

var passages = sync.Pool{New: func() any { return new(passage) }}

// Reuse implements [transit.Reusable].
func (d *passage) Reuse() {
	*d = passage{}
	passages.Put(d)
}

// show returns r as others than the pool's own parts see it: as it goes out, without
// the backend's address.
func (x *exchange) show(r *http.Request) *http.Request {
	out := *r
	out.Header, out.URL, out.Close = x.out, target.Preserve(r.URL), false
	return &out
}

// A scratch is memory for a request and its answer.
type scratch struct {
	header http.Header // of the request
	head   http1.Head  // of the answer
}

// pageSize is how long a body may be that is read at once, in bytes: its end has room
// behind it.
const pageSize = 32<<10 - 1

var scratches = sync.Pool{New: func() any { return &scratch{header: make(http.Header, 24)} }}

func (s *scratch) free() {
	if len(s.header) > 64 { // it would never shrink
		s.header = make(http.Header, 24)
	}
	clear(s.header)
	s.head.Reset()
	scratches.Put(s)
}

// end says that no informational response is to be told of any more: a transport may
// do so when its request was given up.
func (d *passage) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
}

// Tell passes an informational response on. What the layers above have put into the
// header is for the answer.
func (d *passage) Tell(status int, header http.Header) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || d.old {
		return nil
	}
	h := d.ResponseWriter.Header()
	above := maps.Clone(h)
	clear(h)
	maps.Copy(h, header)
	d.ResponseWriter.WriteHeader(status)
	clear(h)
	maps.Copy(h, above)
	return nil
}

// deliver writes the answer, and closes it.
func (d *passage) deliver(a *answer) error {
	open := true
	defer func() {
		if open {
			_ = a.body.Close() // a writer has panicked
		}
	}()
	h := d.ResponseWriter.Header()
	d.fill(h, a)
	announced := a.trailer()
	names := slices.Collect(maps.Keys(announced))
	if len(names) > 0 {
		h["Trailer"] = append(h["Trailer"], strings.Join(names, ", "))
	}
	d.WriteHeader(a.status)
	err := d.copy(a)
	open = false
	_ = a.body.Close() // of one that has ended nothing is left; the other is given up
	if err != nil {
		return err
	}
	if trailer := a.trailer(); len(trailer) > 0 {
		d.trail(trailer, len(names))
	}
	return nil
}

// fill puts what goes on of the answer's header into h.
func (d *passage) fill(h http.Header, a *answer) {
	x := &d.exchange
	if x.pool.opts.Affinity == nil {
		a.addTo(h, d.values[:])
		return
	}
	own := make(http.Header) // what stands in h already is not the backend's
	a.addTo(own, d.values[:])
	x.pool.bind(a.status, own, x)
	addAll(h, own)
}

// copy writes the body: of one without a length, and of a stream of events, each piece
// as it comes.
func (d *passage) copy(a *answer) error {
	if a.body == http.NoBody {
		return nil
	}
	if a.page {
		return d.copyPage(a)
	}
	flush := a.length < 0 || a.kind == eventStream
	if flush && !a.ready {
		d.flush()
	}
	buf := buffers.Get()
	defer buffers.Put(buf)
	for {
		n, err := a.body.Read(buf)
		if n > 0 {
			if err := d.write(buf[:n]); err != nil {
				return err
			}
			if flush {
				d.flush()
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// copyPage writes a body that is all here, once it has been read to its end: what has come
// with the end, as what a script has logged, is its reader's affair.
func (d *passage) copyPage(a *answer) error {
	buf := http1.MemoryFor(int(a.length) + 1) // and its end
	defer http1.GiveBack(buf)
	n := 0
	for {
		m, err := a.body.Read(buf[n:])
		n += m
		if err == io.EOF {
			return d.write(buf[:n])
		}
		if err != nil {
			return err
		}
	}
}

// write writes all of p.
func (d *passage) write(p []byte) error {
	if len(p) == 0 { // of HEAD
		return nil
	}
	n, err := d.ResponseWriter.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// flush sends what is written. If that fails, so does what is written next.
func (d *passage) flush() { _ = http.NewResponseController(d.ResponseWriter).Flush() }

// trail writes the trailers, of which so many were announced: all, or others came.
func (d *passage) trail(trailer http.Header, announced int) {
	d.flush() // or the server would find out the length of a short body, which has none then
	prefix := ""
	if len(trailer) != announced {
		prefix = http.TrailerPrefix
	}
	h := d.ResponseWriter.Header()
	for name, values := range trailer {
		h[prefix+name] = append(h[prefix+name], values...)
	}
}
