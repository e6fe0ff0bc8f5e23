package router

import (
	"fmt"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// A LimitBy says whom a [Limit] counts as one: see [ByHeader], [ByCookie] and [ByFunc],
// which are all there are. It is immutable and safe for concurrent use.
type LimitBy interface {
	// String is what it goes by, in the words of this package.
	String() string

	// of returns what names whom the request comes from, as it was sent, or "".
	of(*http.Request) string
	check() error
}

// ByHeader counts the requests as one that have the same value in a field, such as
// X-Api-Key, or Authorization. Those that have none, or several lines of it, of which
// nobody knows which one a backend goes by, are counted by client.
//
// What a client may make up tells nobody from others; so all that one client sends, under
// whatever values, is bounded too: see [Limit]. Whom somebody else has verified, a [Basic]
// or an [Ask], is known behind it: see [NewLimiter].
func ByHeader(name string) LimitBy { return byHeader{http.CanonicalHeaderKey(name)} }

type byHeader struct{ name string }

func (b byHeader) String() string { return list("ByHeader", []string{b.name}) }
func (b byHeader) check() error   { return checkField("ByHeader", b.name) }
func (b byHeader) of(r *http.Request) string {
	if lines := r.Header[b.name]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// ByCookie counts the requests as one that have the same value in a cookie, in quotes or
// not, such as a session's. The rest is as with [ByHeader].
func ByCookie(name string) LimitBy { return byCookie{name} }

type byCookie struct{ name string }

func (b byCookie) String() string { return list("ByCookie", []string{b.name}) }
func (b byCookie) check() error {
	if b.name == "" || !fields.Token(b.name) {
		return fmt.Errorf("ByCookie(%q) is no name of a cookie: want it without value, and whole", b.name)
	}
	return nil
}

func (b byCookie) of(r *http.Request) string {
	value, n := fields.Cookie(r.Header, b.name)
	if n != 1 {
		return ""
	}
	return value
}

// ByFunc counts the requests as one for which f returns the same; those for which it
// returns "" are counted by client. It may return a session's subject, where the
// session's handler stands above. The name stands for f wherever a limit is explained, and
// in what several gateways share. f is called concurrently, for each request of the rule.
// Make the LimitBy once: a router's Update takes the accounts along if it is the same.
func ByFunc(name string, f func(*http.Request) string) LimitBy {
	return &byFunc{name: name, f: f}
}

type byFunc struct {
	name string
	f    func(*http.Request) string
}

func (b *byFunc) String() string            { return list("ByFunc", []string{b.name}) }
func (b *byFunc) of(r *http.Request) string { return b.f(r) }
func (b *byFunc) check() error {
	if b.f == nil {
		return fmt.Errorf("%s has no function", b)
	}
	return notEmpty("ByFunc", len(b.name))
}
