// Package fields is the one reader of what stands in HTTP header fields: tokens,
// lists, hosts, addresses, cookies, what an answer says to caches; and knows which
// fields are meant for one connection and which a client may not bring.
package fields

import (
	"net/http"
	"strings"
)

// RemoveHopByHop removes from h what was meant for one connection, the fields
// that Connection lists included (RFC 9110, section 7.6.1).
func RemoveHopByHop(h http.Header) {
	removeListed(h, h["Connection"])
	for name := range h {
		if HopByHop(name) {
			delete(h, name)
		}
	}
}

// AddEndToEnd adds to h, in which nothing of it is yet, what [RemoveHopByHop] leaves of
// from. The values are from's.
func AddEndToEnd(h, from http.Header) {
	for name, values := range from {
		if !HopByHop(name) {
			h[name] = values
		}
	}
	removeListed(h, from["Connection"])
}

// removeListed removes from h the fields that the lines of a Connection field list.
func removeListed(h http.Header, lines []string) {
	for name := range Members(lines) {
		if !EqualFold(name, "keep-alive") { // nearly always; it goes anyway
			h.Del(name)
		}
	}
}

// HopByHop reports whether RFC 9110, section 7.6.1, or one of its forerunners means a
// field of this name, which is canonical, for one connection, whatever Connection lists.
func HopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate",
		"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// Clean removes from a request's header what must not reach a backend: fields
// that say another host, scheme, port, path or method than the rules have judged
// (CVE-2018-14773 and kin) or steer a server, fields whose name is not a letter,
// digit or hyphen throughout (CGI cannot tell X_Forwarded_For from
// X-Forwarded-For), any upgrade but to websocket, Expect, and, unless the peer
// is trusted, everything with which a proxy speaks of its client: its address,
// user and certificate. They go by kind, whatever their name: see claimed.
//
// A trusted peer's X-Forwarded-For and -Proto stay; all other X-Forwarded-* go. What
// Connection lists goes, so that rules, cache and backend see the same; but for what is
// meant for all recipients, which nobody may list.
func Clean(h http.Header, trusted bool) {
	for name := range h {
		if says := meaning(name); says == ofTarget || says == ofClient && !trusted {
			delete(h, name)
		}
	}
	for _, name := range [...]string{"Connection", "Upgrade", "Te", "Keep-Alive", "Proxy-Connection"} {
		if lines := h[name]; len(lines) > 0 && commas(lines) > maxOptions {
			delete(h, name)
		}
	}
	if up := h["Upgrade"]; len(up) > 0 && !(len(up) == 1 && EqualFold(up[0], "websocket") && HasToken(h["Connection"], "upgrade")) {
		delete(h, "Upgrade")
	}
	cleanConnection(h)
}

// meaning returns what the field of that name says. A server hands up canonical names
// only; whatever else has put a field there, a backend reads it in any spelling.
func meaning(as string) claim {
	if says, ok := known[as]; ok {
		return says
	}
	name := http.CanonicalHeaderKey(as)
	switch {
	case as == "X-Forwarded-For", as == "X-Forwarded-Proto": // which the tier itself understands
		return ofClient
	case !plain(name), as != name && HopByHop(name), strings.HasPrefix(name, "X-Forwarded-"):
		return ofTarget
	}
	return claimed(name)
}

// maxOptions is how many members a list that is meant for this hop may have. A
// longer one has no honest reader, and is not read.
const maxOptions = 64

// commas is how many members the lines of a list have, less one.
func commas(lines []string) int {
	n := len(lines) - 1
	for _, line := range lines {
		n += strings.Count(line, ",")
	}
	return n
}

// cleanConnection removes what Connection lists (RFC 9110, section 7.6.1), and keeps of it
// what a client may ask of its own connection. Cookies and logins are for all recipients,
// and what a trusted proxy says of its client is for the tier: whoever lists them is not
// one who has them, and they stay.
func cleanConnection(h http.Header) {
	lines := h["Connection"]
	if len(lines) == 0 || len(lines) == 1 && (EqualFold(lines[0], "keep-alive") || EqualFold(lines[0], "close")) {
		return
	}
	tokens := [...]string{"close", "keep-alive", "upgrade", "te"}
	var there [len(tokens)]bool
	for member := range Members(lines) {
		known := false
		for i, token := range tokens {
			if EqualFold(member, token) {
				there[i], known = true, true
			}
		}
		name := http.CanonicalHeaderKey(member)
		if !known && name != "Cookie" && name != "Authorization" && meaning(name) != ofClient {
			delete(h, name)
		}
	}
	var keep []string
	for i, token := range tokens {
		if there[i] && (token != "upgrade" || h["Upgrade"] != nil) {
			keep = append(keep, token)
		}
	}
	if len(keep) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(keep, ", ")}
}

// plain reports whether name consists of letters, digits and hyphens.
func plain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != ""
}
