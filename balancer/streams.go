package balancer

import (
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// asksForStream reports whether the answer to a request with this header is
// likely to be a stream.
func asksForStream(h http.Header) bool {
	return h["Upgrade"] != nil || fields.HasToken(h["Accept"], eventStream)
}

const eventStream = "text/event-stream"

// isStream reports whether a goes on for as long as its client wants: an
// upgraded connection, or server-sent events.
func isStream(a *answer) bool {
	if a.status == http.StatusSwitchingProtocols {
		return true
	}
	return a.kind == eventStream && a.body != http.NoBody
}

// mediaType returns the type that a header states, whatever its parameters are:
// they may be malformed, or stand twice.
func mediaType(h lookup) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.Trim(kind, " \t"))
}

// settle counts the answered request as what it has turned out to be.
func (t *try) settle(a *answer) error {
	x := t.exchange
	if !isStream(a) || x.ask.Stream {
		return nil
	}
	if err := x.pool.view.Stream(&x.ask, t.entry, &t.place); err != nil {
		return err
	}
	x.rec.Streaming()
	x.pool.view.Freed()
	return nil
}

// streams reports whether each byte matters when it comes, and an answer that
// says nothing for long is no slow one.
func (a *answer) streams() bool {
	return speaks(a.kind) || strings.EqualFold(a.header.Get("X-Accel-Buffering"), "no")
}

// speaks reports whether a body of this media type is a stream.
func speaks(kind string) bool {
	return kind == eventStream || strings.HasPrefix(kind, "application/grpc")
}
