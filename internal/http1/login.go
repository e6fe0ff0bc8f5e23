package http1

import (
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// logins are the schemes that log a connection in and not a request (RFC 4559,
// section 6, and its kin): whoever uses the connection next is taken for who
// used it last.
var logins = []string{"NTLM", "Negotiate", "Kerberos", "Nego2", "CredSSP"}

// login reports whether credentials or challenges name one of logins. Quoted
// strings are not respected: a false hit costs a connection and nothing else.
func login(lines []string) bool {
	for member := range fields.Members(lines) {
		if scheme(member) {
			return true
		}
	}
	return false
}

// scheme reports whether a member begins with one of logins.
func scheme(member string) bool {
	switch member[0] | 0x20 { // most do not, and a list may be long
	case 'n', 'k', 'c':
	default:
		return false
	}
	for _, name := range logins {
		if len(member) >= len(name) && fields.EqualFold(member[:len(name)], name) &&
			(len(member) == len(name) || member[len(name)] == ' ' || member[len(name)] == '\t') {
			return true
		}
	}
	return false
}

// LogsIn reports whether a request with this header may log in the connection
// that it is sent on, in whatever spelling.
func LogsIn(h http.Header) bool {
	for name, values := range h {
		if credentials(name) && login(values) {
			return true
		}
	}
	return false
}

// credentials reports whether a field of this name says who asks.
func credentials(name string) bool {
	return fields.EqualFold(name, "Authorization") || fields.EqualFold(name, "Proxy-Authorization")
}

// LoggedIn reports whether a response with this header offers a login of the
// connection, or tells of one.
func LoggedIn(h http.Header) bool {
	return login(h["Www-Authenticate"]) || login(h["Proxy-Authenticate"]) ||
		len(h["Persistent-Auth"]) > 0 || len(h["Proxy-Support"]) > 0
}

// LoggedIn is [LoggedIn] for a head.
func (h *Head) LoggedIn() bool {
	for i := range h.fields {
		f := &h.fields[i]
		if f.id != other && f.id != nameWwwAuthenticate {
			continue
		}
		value := [1]string{f.value.of(h.b)}
		switch name := f.name.of(h.b); {
		case f.id == nameWwwAuthenticate, fields.EqualFold(name, "Proxy-Authenticate"):
			if login(value[:]) {
				return true
			}
		case fields.EqualFold(name, "Persistent-Auth"), fields.EqualFold(name, "Proxy-Support"):
			return true
		}
	}
	return false
}
