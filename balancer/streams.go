package balancer

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// errStreams means that the backends have as many streams as they may. It is
// not waited for that one ends: that may take days, and those who wait for a
// page would stand behind.
var errStreams = fmt.Errorf("%w: with streams", ErrBusy)

// asksForStream reports whether the answer to a request with this header is
// likely to be a stream.
func asksForStream(h http.Header) bool {
	return h["Upgrade"] != nil || fields.HasToken(h["Accept"], eventStream)
}

const eventStream = "text/event-stream"

// isStream reports whether res goes on for as long as its client wants: an
// upgraded connection, or server-sent events.
func isStream(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	return mediaType(res.Header) == eventStream && res.Body != http.NoBody
}

// mediaType returns the type that a header states, whatever its parameters are:
// they may be malformed, or stand twice.
func mediaType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.Trim(kind, " \t"))
}

// places are those of one kind as they are to x's client.
func (x *exchange) places(stream bool) places { return x.pool.places(x.who, stream) }

// full returns why e has no place for one more request like x, or nil.
func (x *exchange) full(e *entry) error {
	limit := x.pool.opts.Limit
	if (x.stream || x.mayStream) && limit.Streams > 0 {
		if e.load.Streams() >= limit.Streams {
			return errStreams
		}
		if len(x.tried) == 0 && x.places(true).overAt(e, 0) {
			return errStreamShare
		}
	}
	if !x.stream && limit.InFlight > 0 {
		if e.load.InFlight() >= limit.InFlight {
			return ErrBusy
		}
		if len(x.tried) == 0 && x.places(false).overAt(e, 0) {
			return errShare
		}
	}
	return nil
}

// crowds returns why x's client has no place at any of use, of which some have
// places, or nil.
func (x *exchange) crowds(use []*entry) error {
	if (x.stream || x.mayStream) && x.places(true).over(use, 0) {
		return errStreamShare
	}
	if !x.stream && x.places(false).over(use, 0) {
		return errShare
	}
	return nil
}

// allFull returns why none of them has a place: what is worth a wait, if anything
// is, and rather what any end of a request may change.
func (x *exchange) allFull(list []*entry) error {
	var why error
	for _, e := range list {
		switch err := x.full(e); {
		case err == ErrBusy:
			return err
		case why == nil || err == errShare:
			why = err
		}
	}
	return cmp.Or(why, ErrBusy) // a place has come free meanwhile
}

// settle counts the answered request as what it has turned out to be.
func (t *try) settle(res *http.Response) error {
	x := t.exchange
	if !isStream(res) || x.stream {
		return nil
	}
	p := x.pool
	if !t.ticket.Stream(p.opts.Limit.Streams) {
		return errStreams
	}
	t.held.give()
	x.stream = true
	if !t.held.take(x.places(true), p.current(time.Now()).use, t.entry) {
		return errStreamShare
	}
	x.rec.Streaming()
	if p.opts.Limit.InFlight > 0 {
		p.queue.wake()
	}
	return nil
}
