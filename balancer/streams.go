package balancer

import (
	"fmt"
	"net/http"
	"strings"

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

// full returns why e has no place for one more request like x, or nil.
func (x *exchange) full(e *entry) error {
	limit := x.pool.opts.Limit
	if (x.stream || x.mayStream) && limit.Streams > 0 && e.load.Streams() >= limit.Streams {
		return errStreams
	}
	if !x.stream && limit.InFlight > 0 && e.load.InFlight() >= limit.InFlight {
		return ErrBusy
	}
	return nil
}

// allFull returns why none of them has a place.
func (x *exchange) allFull(list []*entry) error {
	for _, e := range list {
		if err := x.full(e); err == ErrBusy {
			return err // which is worth a wait
		}
	}
	return errStreams
}

// settle counts the answered request as what it has turned out to be.
func (t *try) settle(res *http.Response) error {
	x := t.exchange
	if !isStream(res) || x.stream {
		return nil
	}
	if !t.ticket.Stream(x.pool.opts.Limit.Streams) {
		return errStreams
	}
	x.stream = true
	x.rec.Streaming()
	if x.pool.opts.Limit.InFlight > 0 {
		x.pool.queue.wake()
	}
	return nil
}
