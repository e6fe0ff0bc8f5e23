package balancer

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// serveBody proxies a request that has a body. Goroutines may read the body
// while the answer comes: it is theirs no more, and they have ended, when
// serveBody returns.
//
// Over HTTP/1 a backend may answer before it has read the whole of it: the
// server then reads and writes at once (golang/go #40747). What is left of such
// a body on the wire must not be taken for the next request, so the connection
// ends with the answer.
func (p *proxy) serveBody(w http.ResponseWriter, r *http.Request, lent bool) {
	rc := http.NewResponseController(w)
	c := &coming{body: transit.NewBody(r.Body)}
	defer c.uploads.Wait()
	defer c.body.Retire(func() bool { return rc.SetReadDeadline(past) == nil })
	c.duplex = r.ProtoMajor == 1 && rc.EnableFullDuplex() == nil // else it takes care itself
	p.pass(w, r, c, lent)
	if c.duplex && c.body.Err() != io.EOF {
		// The server would wait for the rest before it ends the connection. An
		// error means that the connection is gone already.
		_ = rc.Flush()
		_ = rc.SetReadDeadline(past)
	}
}

// A coming is the body of a request, of which some may still come.
type coming struct {
	body    *transit.Body
	uploads sync.WaitGroup // of the goroutines that read it
	duplex  bool           // over HTTP/1: the server reads it and writes the answer at once
}

// watched returns the body if the answer has to look after it, else nil.
func (c *coming) watched() *transit.Body {
	if c == nil || !c.duplex {
		return nil
	}
	return c.body
}

// past is a deadline that interrupts what is going on.
var past = time.Unix(1, 0)

// An answering is the ResponseWriter of what goes through a pool.
type answering struct {
	http.ResponseWriter
	body *transit.Body // the request's over HTTP/1, else nil
	own  bool          // the answer is the pool's own, or its operator's
	old  bool          // the client speaks HTTP/1.0, which knows no informational responses (RFC 9110, section 15.2)

	above   http.Header // what the layers above have put on the answer, as it was at first
	cleared bool        // an informational response has taken above off the header
}

// newAnswering returns w as ReverseProxy's writer of the answer to r, of which body is
// the body over HTTP/1.
func newAnswering(w http.ResponseWriter, r *http.Request, body *transit.Body) *answering {
	a := &answering{ResponseWriter: w, body: body, old: !r.ProtoAtLeast(1, 1)}
	if h := w.Header(); len(h) > 0 {
		a.above = h.Clone()
	}
	return a
}

// Header implements [http.ResponseWriter].
func (w *answering) Header() http.Header {
	h := w.ResponseWriter.Header()
	if w.cleared {
		w.cleared = false
		maps.Copy(h, w.above.Clone())
	}
	return h
}

// tell writes an informational response, of which ReverseProxy has put the
// fields into the header, behind what stood there, and empties all of it
// afterwards: what the layers above have put there is for the answer.
func (w *answering) tell(status int) {
	h := w.Header()
	for name, values := range w.above {
		if h[name] = h[name][min(len(values), len(h[name])):]; len(h[name]) == 0 {
			delete(h, name)
		}
	}
	w.cleared = len(w.above) > 0
	if !w.old {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for [http.ResponseController].
func (w *answering) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader ends the connection if the answer begins before the request has
// ended, and makes up no Content-Type where the backend sent none: what it
// would be taken for is the client's to decide (RFC 9110, section 8.3).
func (w *answering) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.tell(status)
		return
	}
	if status >= 200 {
		h := w.Header()
		if w.body != nil && w.body.Err() != io.EOF {
			h["Connection"] = []string{"close"}
		}
		if _, ok := h["Content-Type"]; !ok && !w.own {
			h["Content-Type"] = nil
		}
	}
	w.ResponseWriter.WriteHeader(status)
}
