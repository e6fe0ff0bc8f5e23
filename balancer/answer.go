package balancer

import (
	"io"
	"net/http"
	"slices"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// An answer is what a backend has answered. It came over the pool's own connections
// and is still as it came, or through any other transport.
type answer struct {
	status   int
	length   int64         // of the body; negative: nobody knows
	unproven bool          // only the end of the connection ends the body
	ready    bool          // there is something of the body, or all of it
	page     bool          // all of it is here, and little: it is read at once
	kind     string        // the media type that the header states
	header   lookup        // as it came
	body     io.ReadCloser // which holds the place until it ends; [http.NoBody] if there is none

	head *http1.Head    // nil:
	tail *http.Header   // what is behind the body
	res  *http.Response // through another transport, or for RoundTrip
}

// A lookup is what can be asked for a field's first value: a [http.Header], or a head as
// it came.
type lookup interface{ Get(name string) string }

func answerOf(res *http.Response) answer {
	return answer{
		status: res.StatusCode, length: res.ContentLength, header: res.Header, body: res.Body, res: res, kind: mediaType(res.Header),
		unproven: res.ProtoMajor == 1 && res.ContentLength == -1 && !slices.Contains(res.TransferEncoding, "chunked"),
	}
}

// A reply is an answer as it comes over the pool's own connections.
type reply interface {
	io.ReadCloser
	ContentLength() int64
	Ended() bool
}

func replied(r reply, head *http1.Head, tail *http.Header) answer {
	a := answer{status: head.Status, length: r.ContentLength(), header: head, body: r, head: head, tail: tail, kind: mediaType(head)}
	if r.Ended() {
		a.body = http.NoBody
	}
	return a
}

// addTo adds to h what goes on of the answer's header, with room for values.
func (a *answer) addTo(h http.Header, room []string) {
	if a.head != nil {
		a.head.AddEndToEnd(h, room)
		return
	}
	fields.RemoveHopByHop(a.res.Header)
	addAll(h, a.res.Header)
}

// addAll adds all fields of from to those of h.
func addAll(h, from http.Header) {
	for name, values := range from {
		if have := h[name]; have != nil {
			values = append(have, values...)
		}
		h[name] = values
	}
}

// trailer returns the fields that follow the body: as long as that has not ended, the
// names that are announced.
func (a *answer) trailer() http.Header {
	if a.tail != nil {
		return *a.tail
	}
	return a.res.Trailer
}

// receive makes a's body one that holds the place until it ends. It returns
// how the body broke off, if it does so while it is held back.
func (t *try) receive(a *answer) error {
	x := t.exchange
	b := &t.body
	b.try, b.src = t, a.body
	if t.interrupt != nil {
		b.idle = x.timeouts.Idle
	}
	if w, ok := a.body.(io.Writer); ok && a.status == http.StatusSwitchingProtocols {
		b.idle = 0
		a.body = &upgraded{body: b, w: w}
		return nil
	}
	a.body = b
	if b.src == http.NoBody || x.ask.Stream || a.streams() {
		return nil
	}
	if w, ok := b.src.(http1.Arriving); ok && w.Whole() {
		a.ready = true
	}
	// What the pool itself reads at once, to its end, holds no place meanwhile, however
	// slow its client is.
	if a.page = a.ready && x.passage != nil && 0 <= a.length && a.length <= pageSize; a.page {
		return nil
	}
	ahead := &ahead{}
	ahead.init(x.pool, b, a.length)
	a.body = ahead
	if a.unproven || a.ready {
		ahead.answer()
		return nil
	}
	err := ahead.hold()
	a.ready = ahead.ready()
	return err
}

// finish makes a the pool's answer.
func (t *try) finish(a *answer) {
	t.exchange.rec.Unproven = a.unproven
	t.release()
}
