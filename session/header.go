package session

import (
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// A header carries tickets in a field of its name, both ways; see [Options].Header.
type header string

const (
	authorization = "Authorization"
	bearer        = "Bearer " // RFC 6750, section 2.1
)

// isField reports whether sessions may be sent in a field of this name, which is
// canonical: it means nothing else, and no edge on the way takes it off.
func isField(name string) bool {
	if name != authorization && !strings.HasPrefix(name, "X-") || !fields.Token(name) {
		return false
	}
	h := http.Header{name: {""}}
	fields.Clean(h, false)
	return len(h) > 0
}

func (n header) String() string { return string(n) }

func (n header) clean(r *http.Request) http.Header { return r.Header }

// read takes two fields for none, as of cookies: one of them was added on the way.
func (n header) read(r *http.Request) (t ticket, present bool) {
	lines := r.Header[string(n)]
	if len(lines) != 1 {
		return ticket{}, len(lines) > 0
	}
	value := lines[0]
	if n == authorization {
		if len(value) < len(bearer) || !strings.EqualFold(value[:len(bearer)], bearer) {
			return ticket{}, false // of another scheme, which is not ours
		}
		value = strings.TrimLeft(value[len(bearer):], " ")
	}
	t, _ = parseTicket(value)
	return t, value != ""
}

func (n header) known(r *http.Request) bool { return len(r.Header[string(n)]) > 0 }

func (n header) overwrites(*http.Request) bool { return false }

func (n header) give(h http.Header, _ *http.Request, t ticket, _ int) {
	value := t.String()
	if n == authorization && value != "" {
		value = bearer + value
	}
	h[string(n)] = []string{value}
}
