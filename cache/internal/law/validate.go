package law

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// Validates reports whether a 304 speaks of what is stored (RFC 9111, section
// 4.3.4): its validators, where it has any, are those that were sent.
func Validates(stored, notModified http.Header) bool {
	if tag := notModified.Get("Etag"); tag != "" {
		return weak(tag) == weak(stored.Get("Etag"))
	}
	if modified := notModified.Get("Last-Modified"); modified != "" && stored.Get("Etag") == "" {
		return modified == stored.Get("Last-Modified")
	}
	return true
}

// Update returns the stored header with what a 304 says now (RFC
// 9111, section 3.2): all but what describes the stored body itself, and what
// was meant for one connection.
func Update(stored, newer http.Header) http.Header {
	out := stored.Clone()
	delete(out, "Age")
	delete(out, "Date") // without one it is as of now, not as of then
	newer = newer.Clone()
	fields.RemoveHopByHop(newer)
	for name, values := range newer {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Etag", "Proxy-Authentication-Info":
			continue
		}
		out[name] = values
	}
	return out
}

// Confirm returns the stored header with what a 304 says now of how long the
// response lives, and nothing else of it.
func Confirm(stored, notModified http.Header, cache Addressee) http.Header {
	out := stored.Clone()
	for _, field := range [...]string{
		"Age", "Date", "Expires", "Cache-Control", "Cdn-Cache-Control", "Surrogate-Control", cache.field,
	} {
		if values, ok := notModified[field]; ok {
			out[field] = values
		} else if field == "Age" || field == "Date" {
			delete(out, field) // without one it is as of now, not as of then
		}
	}
	return out
}

// NotModified reports whether a GET with such conditions is answered 304 by a
// stored response (RFC 9110, section 13.2.2, as far as RFC 9111, section
// 4.3.2, has a cache decide it). etag and modified are the stored response's
// fields, received when it came, for a response without Last-Modified.
func NotModified(c transit.Conditions, etag, modified string, received, now time.Time) bool {
	if c.Tagged {
		return matchTag(c.NoneMatch, etag)
	}
	since, ok := ParseDate(c.ModifiedSince, now)
	if !ok {
		return false
	}
	if modified != "" {
		t, ok := ParseDate(modified, now)
		return ok && !t.After(since)
	}
	return !received.After(since)
}

// matchTag compares weakly (RFC 9110, section 8.8.3.2).
func matchTag(list, etag string) bool {
	if textproto.TrimString(list) == "*" {
		return true
	}
	for etag != "" && list != "" {
		var member string
		member, list = fields.CutMember(list)
		if weak(textproto.TrimString(member)) == weak(etag) {
			return true
		}
	}
	return false
}

func weak(tag string) string { return strings.TrimPrefix(tag, "W/") }

// Unsafe reports whether a method may change what is stored, so that a
// successful response to it invalidates (RFC 9111, section 4.4). Methods that
// nobody knows count as such.
func Unsafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return false
	}
	return true
}

// Changes reports whether a method is registered as one that changes what its
// target is: those of RFC 9110 and 5789, and of WebDAV and kin (the HTTP Method
// Registry). What others do is anybody's guess, and anybody may send them.
func Changes(method string) bool {
	switch method {
	case "POST", "PUT", "DELETE", "PATCH",
		"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY",
		"MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPPATCH", "REBIND", "UNBIND",
		"UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL":
		return true
	}
	return false
}
