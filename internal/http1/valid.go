package http1

import (
	"fmt"
	"net/http"
	"strings"
)

// check refuses what could be read as two requests.
func (c *Call) check() error {
	r := c.Request
	switch {
	case r.Method != "" && !token(r.Method):
		return fmt.Errorf("http1: invalid method %q", r.Method)
	case !authority(r.Host):
		return fmt.Errorf("http1: invalid host %q", r.Host)
	case !visible(c.Base) || !visible(r.URL.EscapedPath()) || !visible(r.URL.RawQuery):
		return fmt.Errorf("http1: invalid target %q", r.URL.Redacted())
	}
	for name, values := range c.Header {
		if !token(name) {
			return fmt.Errorf("http1: invalid field name %q", name)
		}
		for _, v := range values {
			if !text(v) {
				return fmt.Errorf("http1: invalid value of field %s", name)
			}
		}
	}
	for name := range r.Trailer {
		if !token(name) || forbidden[http.CanonicalHeaderKey(name)] {
			return fmt.Errorf("http1: invalid trailer %q", name)
		}
	}
	return nil
}

// forbidden in trailers are the fields that say how a message is read
// (RFC 9110, section 6.5.1), among those a client may send.
var forbidden = map[string]bool{
	"Authorization": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Cookie": true, "Expect": true, "Host": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
}

// tokens are the characters of RFC 9110, section 5.6.2.
var tokens = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			c > 0 && c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

func token(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}

// text reports whether s may be a field's value: no controls but the tab.
func text(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
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

// authority reports whether s may be a Host: what RFC 3986 allows in a host
// and port.
func authority(s string) bool {
	for i := range len(s) {
		if c := s[i]; !tokens[c] && strings.IndexByte(":[](),;=", c) < 0 || c == '#' || c == '^' || c == '`' || c == '|' {
			return false
		}
	}
	return true
}
