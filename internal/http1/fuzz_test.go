package http1

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzHead holds that whatever is sent is read as one request, with the
// method, host and fields that were meant.
func FuzzHead(f *testing.F) {
	f.Add("GET", "shop.example", "/a%2Fb", "x=1", "X-Name", "value", "")
	f.Add("POST", "shop.example:80", "/", "", "Cookie", "a=b", "/base")
	f.Add("GET", "a\r\nX: y", "/ HTTP/1.1\r\nHost: b", "\r\n\r\nGET / HTTP/1.1", "A\r\nB", "c\r\nD: e", " ")
	f.Add("GET", "[::1]", "//x", "a b", "Transfer-Encoding", "chunked", "")
	f.Add("PUT", "", "/\x00", "\x7f", "Content-Length", "9", "")
	f.Add("GET", "", "/", "0", "content-Length", "1", "")
	f.Fuzz(func(t *testing.T, method, host, path, query, name, value, base string) {
		u := &url.URL{Path: path, RawQuery: query}
		c := &Call{Request: &http.Request{Method: method, Host: host, URL: u}, Header: http.Header{name: {value}}, Base: base}
		if c.write(nil) != nil || method == "" || !strings.HasPrefix(base+path, "/") {
			return
		}
		sent := string(c.head)
		in := bufio.NewReader(strings.NewReader(sent))
		r, err := http.ReadRequest(in)
		if err != nil {
			if host == "" || method == "CONNECT" || strings.Contains(err.Error(), "invalid URL") || strings.Contains(err.Error(), "invalid port") || strings.Contains(err.Error(), "malformed Host") || strings.Contains(err.Error(), "cannot parse") {
				return // a server that refuses it reads no second request
			}
			t.Fatalf("%q: %v", sent, err)
		}
		if r.Method != method || r.Host != host && !strings.HasPrefix(path, "http") && !strings.Contains(path, "//") {
			t.Errorf("%q: read as %s to %q", sent, r.Method, r.Host)
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("%q: more than one request, or a body", sent)
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "User-Agent", "Connection":
			return
		}
		if got := r.Header.Values(name); len(got) != 1 || got[0] != strings.Trim(value, " \t") {
			t.Errorf("%q: %s is %q, meant %q", sent, name, got, value)
		}
	})
}
