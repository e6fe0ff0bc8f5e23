package http1

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// ErrInvalid means that a request can't be sent as it is, to any server.
var ErrInvalid = errors.New("http1: invalid request")

// check refuses what could be read as two requests, or as one for another
// host.
func (c *Call) check() error {
	r := c.Request
	c.to = target.Of(r.URL)
	to := c.to
	switch {
	case r.Method != "" && !fields.Token(r.Method):
		return fmt.Errorf("%w: method %q", ErrInvalid, r.Method)
	case !fields.HostBytes(r.Host):
		return fmt.Errorf("%w: host %q", ErrInvalid, r.Host)
	case !visible(c.Base) || !visible(to.Path) || !visible(to.Query), to.Path[0] != '/' && to.Path != "*":
		return fmt.Errorf("%w: target %q", ErrInvalid, r.URL.Redacted())
	}
	return c.checkFields()
}

// checkFields does so by the fields, and notes whether the request may log its
// connection in.
func (c *Call) checkFields() error {
	for name, values := range c.Header {
		if !fields.Token(name) {
			return fmt.Errorf("%w: field name %q", ErrInvalid, name)
		}
		for _, v := range values {
			if !fields.Value(v) {
				return fmt.Errorf("%w: value of field %s", ErrInvalid, name)
			}
		}
		c.login = c.login || credentials(name) && login(values)
	}
	for _, name := range c.Trailer {
		if !MayTrail(name) {
			return fmt.Errorf("%w: trailer %q", ErrInvalid, name)
		}
	}
	return nil
}

// Sound returns why res can't be the answer to a request with this header, or
// nil: a status that is none, or a switch to a protocol that nobody asked for.
func Sound(header http.Header, res *http.Response) error {
	switch {
	case res.StatusCode < 100 || res.StatusCode > 999:
		return fmt.Errorf("malformed HTTP status code %d", res.StatusCode)
	case res.StatusCode != http.StatusSwitchingProtocols:
		return nil
	}
	asked, got := upgrade(header), upgrade(res.Header)
	if asked == "" || !fields.EqualFold(asked, got) {
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
