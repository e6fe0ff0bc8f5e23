//go:build cost

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// What a hostile request may cost: as much as so many plain ones, or so much
// time, whichever is more.
const (
	maxRatio = 10
	maxTime  = 300 * time.Microsecond
)

// TestNoFieldBuysWork sends the longest target and header that are taken, filled
// with members of lists, of queries and of paths, through the whole chain in
// process, and compares what that takes with a plain request. Least times count,
// on both sides, since the machine may be busy, and what it does in 300 µs when
// it is not is measured too; one that is too slow is tried again.
func TestNoFieldBuysWork(t *testing.T) {
	origin := costBackend(t)
	for name, flags := range map[string][]string{
		"plain":    nil,
		"all":      {"-origin", origin, "-sticky", "pin", "-cache-ttl", "60s", "-cache-devices", "-cache-bypass-cookie", "cart,wordpress_logged_in_*", "-via", "off"},
		"fields":   {"-cache-fields", "X-Shop-*", "-streams", "/live/*", "-trust", "192.0.2.1"},
		"no cache": {"-cache", "0", "-sticky", "pin"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(append([]string{"-listen", "127.0.0.1:0", "-backends", origin, "-log", "off"}, flags...), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c.stickyKey = make([]byte, minStickyKey)
			tier, err := build(c, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer tier.Close()
			defer tier.srv.Close()
			for _, path := range []string{"/hit", "/miss"} {
				usual := costOf(t, tier.srv, path)
				passed := costOf(t, tier.srv, "/miss")
				for what, h := range hostiles(path) {
					plain, large := usual.plain, usual.large
					if h.passes() {
						plain, large = passed.plain, passed.large
					}
					bound := max(maxTime, maxRatio*plain, yardstick(), 4*large)
					took := least(t, tier.srv, h, 4)
					for range 10 {
						if took <= bound {
							break
						}
						bound = max(bound, yardstick())
						time.Sleep(time.Millisecond) // whoever else is busy may be done
						took = min(took, least(t, tier.srv, h, 20))
					}
					if took > bound {
						t.Errorf("%s, %s: %v, a plain one %v, a large one %v", path, what, took, plain, large)
					}
				}
			}
		})
	}
}

// A hostile request.
type hostile struct {
	path   string
	query  string
	header http.Header
}

// passes reports whether the cache asks the backend whatever it holds.
func (h hostile) passes() bool {
	for _, name := range []string{"Authorization", "If-Match", "If-Unmodified-Since"} {
		if h.header[name] != nil {
			return true
		}
	}
	return false
}

// costs are what honest requests take: a plain one, and one that is as large as
// the hostile ones and holds nothing to take apart.
type costs struct{ plain, large time.Duration }

func costOf(t *testing.T, srv http.Handler, path string) costs {
	t.Helper()
	return costs{
		least(t, srv, hostile{path: path}, 30),
		least(t, srv, hostile{path: path + "/" + fill("a", targetRoom), header: http.Header{"X-Custom": {fill("a", headerRoom)}}}, 40),
	}
}

const (
	targetRoom = 7900
	headerRoom = 32000
)

// fill repeats s up to room.
func fill(s string, room int) string { return strings.Repeat(s, room/len(s)) }

// hostiles are the requests.
func hostiles(path string) map[string]hostile {
	out := make(map[string]hostile)
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Cdn-Loop", "Connection",
		"Content-Encoding", "Content-Language", "Content-Type", "Expect", "Forwarded", "From", "If-Match", "If-Modified-Since", "If-None-Match",
		"If-Range", "If-Unmodified-Since", "Keep-Alive", "Max-Forwards", "Origin", "Pragma", "Prefer", "Proxy-Authorization", "Range", "Referer",
		"Surrogate-Capability", "Te", "Trailer", "Upgrade", "User-Agent", "Via", "X-Custom", "X-Forwarded-For", "X-Forwarded-Proto",
		"X-Real-Ip", "X-Request-Id", "Cookie", "Sec-Websocket-Protocol", "Host-Override",
	} {
		for _, member := range []string{",", "a, ", "0-,", "a;q=0.5,", "(", `\"`, "1.1 a,"} {
			value := fill(member, headerRoom)
			if name == "Range" {
				value = "bytes=" + value
			}
			out[name+": "+member] = hostile{path: path, header: http.Header{name: {value}}}
		}
		lines := make([]string, 200)
		for i := range lines {
			lines[i] = fill("a,", headerRoom/len(lines)-len(name)-4)
		}
		out[name+", 200 lines"] = hostile{path: path, header: http.Header{name: lines}}
	}
	for _, name := range []string{"If-Modified-Since", "If-Unmodified-Since", "If-Range", "Accept-Language", "Accept-Encoding", "If-None-Match", "Cache-Control"} {
		for _, text := range []string{"\xe9", "é", "%", "=", "W/\"a\",", "\t,", "Sun, 06 Nov 1994 08:49:37 GMT,", "no-cache=\"a,"} {
			header := http.Header{name: {fill(text, headerRoom)}}
			if name == "If-Range" {
				header["Range"] = []string{"bytes=0-1"}
			}
			out[name+": "+text] = hostile{path: path, header: header}
		}
	}
	for _, cookie := range []string{"_ga=1; ", "_ga=;", "a;", "a=1;", ";", "cart.a=1;", "%5f=1;", "pin=a;", "..pin;", "__utmx=1; ", "a b=1;"} {
		out["cookies "+cookie] = hostile{path: path, header: http.Header{"Cookie": {fill(cookie, headerRoom)}}}
	}
	for what, name := range map[string]func(i int) string{
		"X-":      func(i int) string { return fmt.Sprintf("X-%x", i) },
		"hyphens": func(i int) string { return fmt.Sprintf("A-B-C-D-%x", i) },
		"words":   func(i int) string { return fmt.Sprintf("Requesturiforwarde%x", i) },
	} {
		h := make(http.Header)
		for i, room := 0, headerRoom; room > 0; i++ {
			n := http.CanonicalHeaderKey(name(i))
			h[n] = []string{"a"}
			room -= len(n) + 5
		}
		out["names "+what] = hostile{path: path, header: h}
	}
	out["a long name"] = hostile{path: path, header: http.Header{http.CanonicalHeaderKey(fill("x-host-", headerRoom)): {"a"}}}
	for _, q := range []string{"&", "a&", "a=1&", "utm_a=1&", "%61&", "%", "+&", "_ga&", ";", "a=a&a=", "%zz&"} {
		out["query "+q] = hostile{path: path, query: fill(q, targetRoom)}
	}
	for _, p := range []string{"/", "/.", "/a/..", "/;", ";/", "/a;b", "%2f", "%252f", "%25252f", "/%2e%2e", "/x/..", ";%252561", "%c0%af", "\xe9", "{", "[", "//a", "/a.php", "/a.php;", "/%61.php", ".php/", "/a/..;/", "/.;", "."} {
		out["path "+p] = hostile{path: path + "/" + fill(p, targetRoom)}
	}
	if path == "/miss" { // what it stands for is never stored
		out["path of readings"] = hostile{path: "//h/" + fill("a", 3000) + fill("/x/..", 3900) + ";%252561"}
	}
	return out
}

// yardstick is how long some 300 µs of work take here and now.
func yardstick() time.Duration {
	best := time.Duration(1 << 62)
	for range 5 {
		began := time.Now()
		sum := uint64(14695981039346656037)
		for i := range 250_000 {
			sum = (sum ^ uint64(i&0xff)) * 1099511628211
		}
		took := time.Since(began)
		if sum != 0 {
			best = min(best, took)
		}
	}
	return best
}

// least is the least time that h takes in n times.
func least(t *testing.T, srv http.Handler, h hostile, n int) time.Duration {
	t.Helper()
	best := time.Duration(1 << 62)
	for i := range n {
		target := h.path
		if h.query != "" {
			target += "?" + h.query
		}
		path, err := url.PathUnescape(h.path)
		if err != nil {
			path = h.path
		}
		header := h.header.Clone()
		if header == nil {
			header = make(http.Header)
		}
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path, RawPath: h.path, RawQuery: h.query}, RequestURI: target, Host: "shop.example",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody, RemoteAddr: "192.0.2.7:4711"}
		r = r.WithContext(context.WithValue(t.Context(), http.ServerContextKey, &http.Server{}))
		w := httptest.NewRecorder()
		began := time.Now()
		srv.ServeHTTP(w, r)
		took := time.Since(began)
		if i > 0 || n == 1 { // the first may fill the cache
			best = min(best, took)
		}
	}
	return best
}

// costBackend answers with a small page, which may be stored unless its path
// begins with /miss, and looks at nothing else, so that its own work does not
// count.
func costBackend(t *testing.T) (url string) {
	t.Helper()
	return "http://" + testkit.Backend(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Time{}) // it is measured for longer
		in := bufio.NewReaderSize(c, 64<<10)
		for {
			line, err := in.ReadSlice('\n')
			control := "max-age=600"
			if strings.Contains(string(line[:min(len(line), 12)]), "/miss") {
				control = "no-store"
			}
			for err == nil && len(line) > 2 {
				line, err = in.ReadSlice('\n')
			}
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: %s\r\nVary: Accept-Encoding\r\nContent-Length: 4\r\n\r\npage", control)
		}
	})
}
