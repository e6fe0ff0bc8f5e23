package testkit

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A Hostile request is as large as an edge lets one be.
type Hostile struct {
	Path, Query string // as sent
	Header      http.Header
}

// HostileTarget and HostileHeader are how many bytes a hostile request has,
// HostileCookies how many cookies: more are refused.
const (
	HostileTarget  = 7900
	HostileHeader  = 32000
	HostileCookies = 512
)

// Fill repeats s while there is room.
func Fill(s string, room int) string { return strings.Repeat(s, room/len(s)) }

// HostileReadings is a path of which there are as many readings as can be.
var HostileReadings = Hostile{Path: "//h/" + Fill("a", 3000) + Fill("/x/..", 3900) + ";%252561"}

// Hostiles are requests for path, and for what lies below it, that cost most of each
// kind, as far as anybody has thought of it: filled with members of lists, of queries
// and of paths.
func Hostiles(path string) map[string]Hostile {
	out := make(map[string]Hostile)
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Cdn-Loop", "Connection",
		"Content-Encoding", "Content-Language", "Content-Type", "Expect", "Forwarded", "From", "If-Match", "If-Modified-Since", "If-None-Match",
		"If-Range", "If-Unmodified-Since", "Keep-Alive", "Max-Forwards", "Origin", "Pragma", "Prefer", "Proxy-Authorization", "Range", "Referer",
		"Surrogate-Capability", "Te", "Trailer", "Upgrade", "User-Agent", "Via", "X-Custom", "X-Forwarded-For", "X-Forwarded-Proto",
		"X-Real-Ip", "X-Request-Id", "Cookie", "Sec-Websocket-Protocol", "Host-Override",
	} {
		for _, member := range []string{",", "a, ", "0-,", "a;q=0.5,", "(", `\"`, "1.1 a,", "1.2.3.4,"} {
			value := Fill(member, HostileHeader)
			if name == "Range" {
				value = "bytes=" + value
			}
			out[name+": "+member] = Hostile{Path: path, Header: http.Header{name: {value}}}
		}
		lines := make([]string, 200)
		for i := range lines {
			lines[i] = Fill("a,", HostileHeader/len(lines)-len(name)-4)
		}
		out[name+", 200 lines"] = Hostile{Path: path, Header: http.Header{name: lines}}
	}
	for _, name := range []string{"If-Modified-Since", "If-Unmodified-Since", "If-Range", "Accept-Language", "Accept-Encoding", "If-None-Match", "Cache-Control"} {
		for _, text := range []string{"\xe9", "é", "%", "=", "W/\"a\",", "\t,", "Sun, 06 Nov 1994 08:49:37 GMT,", "no-cache=\"a,"} {
			header := http.Header{name: {Fill(text, HostileHeader)}}
			if name == "If-Range" {
				header["Range"] = []string{"bytes=0-1"}
			}
			out[name+": "+text] = Hostile{Path: path, Header: header}
		}
	}
	for _, cookie := range []string{"_ga=1; ", "_ga=;", "a;", "a=1;", ";", "cart.a=1;", "%5f=1;", "pin=a;", "..pin;", "__utmx=1; ", "a b=1;"} {
		out["cookies "+cookie] = Hostile{Path: path, Header: http.Header{"Cookie": {Fill(cookie, HostileHeader)}}}
	}
	// As many as are taken, as long as they may be together, and as short.
	for what, name := range map[string]string{"ignored": "_ga_%x", "unknown": "a%x", "half a name": "__utmx%x", "sessions": "wordpress_logged_in_%x", "dots": "..pin%x", "escapes": "%%5f%x"} {
		for _, room := range []int{HostileHeader / HostileCookies, 0} {
			all := make([]string, HostileCookies)
			for i := range all {
				cookie := fmt.Sprintf(name, i) + "="
				all[i] = cookie + Fill("1", max(room-len(cookie)-len("; "), 1))
			}
			out[fmt.Sprintf("%d cookies, %s, %d bytes each", len(all), what, len(all[0]))] = Hostile{Path: path, Header: http.Header{"Cookie": {strings.Join(all, "; ")}}}
		}
	}
	for what, name := range map[string]func(i int) string{
		"X-":      func(i int) string { return fmt.Sprintf("X-%x", i) },
		"hyphens": func(i int) string { return fmt.Sprintf("A-B-C-D-%x", i) },
		"words":   func(i int) string { return fmt.Sprintf("Requesturiforwarde%x", i) },
	} {
		h := make(http.Header)
		for i, room := 0, HostileHeader; room > 0; i++ {
			n := http.CanonicalHeaderKey(name(i))
			h[n] = []string{"a"}
			room -= len(n) + 5
		}
		out["names "+what] = Hostile{Path: path, Header: h}
	}
	out["a long name"] = Hostile{Path: path, Header: http.Header{http.CanonicalHeaderKey(Fill("x-host-", HostileHeader)): {"a"}}}
	for _, q := range []string{"&", "a&", "a=1&", "utm_a=1&", "%61&", "%", "+&", "_ga&", ";", "a=a&a=", "%zz&", "%2541&"} {
		out["query "+q] = Hostile{Path: path, Query: Fill(q, HostileTarget)}
	}
	for _, p := range []string{"%41", "%2541", "%252541", "/", "/.", "/a/..", "/;", ";/", "/a;b", "%2f", "%252f", "%25252f", "/%2e%2e", "/x/..", ";%252561", "%c0%af", "\xe9", "{", "[", "//a", "/a.php", "/a.php;", "/%61.php", ".php/", "/a/..;/", "/.;", ".", "/admin;", "/a", "/%20admin"} {
		out["path "+p] = Hostile{Path: path + "/" + Fill(p, HostileTarget)}
	}
	return out
}

// Request returns h as a server passes it on.
func (h Hostile) Request(ctx context.Context) *http.Request {
	path, err := url.PathUnescape(h.Path)
	if err != nil {
		path = h.Path
	}
	target := h.Path
	if h.Query != "" {
		target += "?" + h.Query
	}
	header := h.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	r := &http.Request{
		Method: "GET", URL: &url.URL{Path: path, RawPath: h.Path, RawQuery: h.Query}, RequestURI: target, Host: "shop.example",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody, RemoteAddr: "192.0.2.7:4711",
	}
	return r.WithContext(ctx)
}
