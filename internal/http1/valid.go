package http1

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// ErrInvalid means that a request can't be sent as it is, to any server.
var ErrInvalid = errors.New("http1: invalid request")

// Sound returns why res can't be the answer to a request with this header, or
// nil: a status that is none, or a switch to a protocol that nobody asked for.
func Sound(header http.Header, res *http.Response) error {
	return sound(res.StatusCode, header, upgrade(res.Header))
}

// sound is Sound for an answer that switches to the protocol got.
func sound(status int, header http.Header, got string) error {
	switch {
	case status < 100 || status > 999:
		return fmt.Errorf("malformed HTTP status code %d", status)
	case status != http.StatusSwitchingProtocols:
		return nil
	}
	if asked := upgrade(header); asked == "" || !fields.EqualFold(asked, got) {
		return fmt.Errorf("the server switches to protocol %q, asked for was %q", got, asked)
	}
	return nil
}

// upgrade returns the protocol that a header asks for, or switches to.
func upgrade(h http.Header) string {
	if !fields.HasToken(h["Connection"], "upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

// MayTrail reports whether a request may have a trailer of this name.
func MayTrail(name string) bool {
	return fields.Token(name) && !forbidden[http.CanonicalHeaderKey(name)]
}

// forbidden in trailers are the fields that say how a message is read
// (RFC 9110, section 6.5.1), among those a client may send.
var forbidden = map[string]bool{
	"Authorization": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Cookie": true, "Expect": true, "Host": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
}

// visible reports whether s has neither controls nor spaces.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
