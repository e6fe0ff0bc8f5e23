// Package fields holds the mechanics of HTTP header fields that more than one
// stage needs: which are meant for one connection, which a client may not
// bring, and taking single cookies out.
package fields

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields that RFC 9110, section 7.6.1, and its forerunners
// mean for one connection, whether or not Connection lists them.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate",
	"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// RemoveHopByHop removes from h what was meant for one connection, the fields
// that Connection lists included (RFC 9110, section 7.6.1).
func RemoveHopByHop(h http.Header) {
	for _, name := range List(h["Connection"]) {
		h.Del(name)
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// List returns the members of a comma-separated field (RFC 9110, section
// 5.6.1), trimmed, the empty ones left out. Quoted strings are not respected:
// it is meant for lists of tokens.
func List(lines []string) []string {
	var out []string
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = textproto.TrimString(member); member != "" {
				out = append(out, member)
			}
		}
	}
	return out
}

// HasToken reports whether the comma-separated field lists token, in any case.
func HasToken(lines []string, token string) bool {
	return slices.ContainsFunc(List(lines), func(member string) bool {
		return strings.EqualFold(member, token)
	})
}

// overrides are the fields with which some frameworks let a client replace
// the path, the method or the host that the rules have judged (CVE-2018-14773
// and kin). Nobody in front of us has a use for them, trusted or not.
var overrides = []string{
	"X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Original-Method",
	"X-Rewrite-Url", "X-Rewrite-Uri", "X-Override-Url", "Unencoded-Url",
	"Iis-Wasurlrewritten", "X-Http-Method", "X-Http-Method-Override",
	"X-Method-Override", "X-Host", "Proxy", "X-Http-Host-Override", "Http-Host-Override", "X-Script-Name",
	"X-Proxy-Url", "Proxy-Url", "Proxy-Host", "Request-Uri", "X-Http-Destinationurl",
}

// rivals say otherwise what the tier says with X-Forwarded-Proto, -Host and -For.
// A proxy that is trusted for those may hand on its client's of these, so nobody's
// count; the tier writes a Forwarded of its own.
var rivals = []string{"Forwarded", "X-Forwarded", "Front-End-Https", "X-Url-Scheme", "X-Scheme", "X-Https", "Https",
	"X-Arr-Ssl", "Cf-Visitor", "Cloudfront-Forwarded-Proto"}

// claims are the fields besides X-Forwarded-* with which a proxy says who the
// client is and what it has shown. Anybody can send them, so only a trusted
// peer's count.
var claims = []string{
	"X-Real-Ip", "X-Client-Ip", "Client-Ip", "X-Cluster-Client-Ip",
	"True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Envoy-External-Address",
	"X-Request-Id", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr", "Cf-Connecting-Ipv6",
	"Proxy-Client-Ip", "Wl-Proxy-Client-Ip", "X-Azure-Clientip", "X-Azure-Socketip", "Cloudfront-Viewer-Address",
	"X-Forward-For", "Forwarded-For", "Forwarded-For-Ip", "Cluster-Client-Ip", "X-True-Client-Ip",
	"X-True-Ip", "X-Proxyuser-Ip", "X-Custom-Ip-Authorization", "X-Appengine-User-Ip",
	"Client-Cert", "Client-Cert-Chain",
}

// foul tells which fields go: true whoever sent them, false if the peer is not
// trusted.
var foul = func() map[string]bool {
	m := make(map[string]bool)
	for _, name := range claims {
		m[name] = false
	}
	for _, name := range slices.Concat(overrides, rivals, []string{"Expect", "Http2-Settings"}) {
		m[name] = true
	}
	return m
}()

// Clean removes from a request's header what must not reach a backend: fields
// that override what the rules have judged, fields whose name is not a letter,
// digit or hyphen throughout (CGI cannot tell X_Forwarded_For from
// X-Forwarded-For), any upgrade but to websocket, Expect, and, unless the peer
// is trusted, everything with which a proxy speaks of its client.
//
// A trusted peer's X-Forwarded-For and -Proto stay; all other X-Forwarded-* go,
// as does what Connection would have a hop remove of the tier's own fields.
func Clean(h http.Header, trusted bool) {
	for as := range h {
		// A server hands up canonical names only; whatever else has put a field
		// there, a backend reads it in any spelling.
		name := http.CanonicalHeaderKey(as)
		always, bad := foul[name]
		switch {
		case bad && (always || !trusted), !plain(name):
			delete(h, as)
		case strings.HasPrefix(name, "X-Forwarded-"):
			if !trusted || !slices.Contains(forwarded, as) {
				delete(h, as)
			}
		case strings.HasPrefix(name, "X-Original-"), strings.HasPrefix(name, "X-Rewrite-"), strings.HasPrefix(name, "X-Override-"):
			delete(h, as)
		case as != name && slices.Contains(hopByHop, name):
			delete(h, as)
		}
	}
	if up := h["Upgrade"]; len(up) > 0 && !(len(up) == 1 && strings.EqualFold(up[0], "websocket") && HasToken(h["Connection"], "upgrade")) {
		delete(h, "Upgrade")
	}
	cleanConnection(h)
}

// forwarded are the X-Forwarded-* fields that the tier itself understands.
var forwarded = []string{"X-Forwarded-For", "X-Forwarded-Proto"}

// cleanConnection keeps of Connection only what a client may ask of its own
// connection: "Connection: close, Cookie" would otherwise take the cookie away
// on the way to the backend.
func cleanConnection(h http.Header) {
	lines := h["Connection"]
	if len(lines) == 0 || len(lines) == 1 && (strings.EqualFold(lines[0], "keep-alive") || strings.EqualFold(lines[0], "close")) {
		return
	}
	var keep []string
	for _, token := range []string{"close", "keep-alive", "upgrade", "te"} {
		if HasToken(lines, token) && (token != "upgrade" || h["Upgrade"] != nil) {
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

// Token reports whether s is a token (RFC 9110, section 5.6.2), as methods and
// names of fields are.
func Token(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}
