//go:build linux

package main

import (
	"maps"
	"strings"
	"testing"
)

const wrkText = `Running 2s test @ http://127.0.0.1:18080/c1024
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.66ms  433.61us   8.06ms   84.07%
    Req/Sec    38.65k     3.80k   43.41k    80.00%
  77500 requests in 2.01s, 87.20MB read
Requests/sec:  38750.00
Transfer/sec:     43.47MB
`

func TestParseWrk(t *testing.T) {
	if got, err := parseWrk(wrkText); err != nil || got.n != 77500 || got.seconds != 2 {
		t.Errorf("got %+v %v", got, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"errors":     {strings.Replace(wrkText, "Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec", 1), "12 of 77500 answers were errors"},
		"timeouts":   {strings.Replace(wrkText, "Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec", 1), "read 3"},
		"nothing":    {strings.NewReplacer("77500", "0", "38750.00", "0.00").Replace(wrkText), "no answer"},
		"other text": {"unable to connect to 127.0.0.1:1 Connection refused", "unable to connect"},
	} {
		if got, err := parseWrk(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

const h2loadText = `starting benchmark...
spawning thread #0: 16 total client(s). 2000 total requests
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
progress: 100% done

finished in 500.00ms, 4000.00 req/s, 5.02MB/s
requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx
`

func TestParseH2load(t *testing.T) {
	if got, err := parseH2load(h2loadText); err != nil || got.n != 2000 || got.seconds != .5 {
		t.Errorf("got %+v %v", got, err)
	}
	for name, text := range map[string]string{
		"errors":     strings.Replace(h2loadText, "2000 succeeded, 0 failed", "1990 succeeded, 10 failed", 1),
		"HTTP/1.1":   strings.Replace(h2loadText, "Application protocol: h2", "Application protocol: http/1.1", 1),
		"nothing":    strings.NewReplacer("2000 succeeded", "0 succeeded", "4000.00", "0.00").Replace(h2loadText),
		"other text": "could not connect",
	} {
		if got, err := parseH2load(text); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestParseCalls(t *testing.T) {
	const text = `syscall                 calls
---------------- -------------
writev                   4800
recvfrom                 4801
---------------- -------------
total                    9601
`
	if got, want := parseCalls(text), map[string]int{"writev": 4800, "recvfrom": 4801}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRequest(t *testing.T) {
	for name, c := range map[string]struct {
		request
		want string
	}{
		"bare":          {get("/a"), "GET /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"},
		"a host's own":  {get("/a", "Host: shop.example", "Accept: */*"), "GET /a HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"},
		"with a body":   {request{"POST", "/a", nil, 3}, "POST /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 3\r\n\r\nxxx"},
		"more cookies":  {get("/", with([]string{"Host: a", "Cookie: a=1"}, "Cookie: b=2")...), "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\n\r\n"},
		"pinned":        {one(get("/", "Cookie: s=1; "+pin)).pinnedBy("pin=2").requests[0], "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nCookie: s=1; pin=2\r\n\r\n"},
		"pinned by nil": {one(get("/", "Cookie: s=1; "+pin)).pinnedBy("").requests[0], "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nCookie: s=1\r\n\r\n"},
	} {
		if got := string(c.raw("127.0.0.1:1")); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if len(browser) != 11 {
		t.Errorf("a browser's head has %d fields", len(browser))
	}
}

// A shop's visitors ask for what is said of them.
func TestVisitors(t *testing.T) {
	a := visitors()
	kinds := make(map[string]float64)
	for _, i := range a.order {
		path := a.requests[i].path
		if strings.HasPrefix(path, "/c") {
			path = "hit"
		}
		kinds[path] += 100 / float64(len(a.order))
	}
	for path, want := range map[string]float64{"hit": 80, "/n16384/cart": 15, "/n2048/login": 3, "/admin/orders": 2} {
		if got := kinds[path]; got < want-.5 || got > want+.5 {
			t.Errorf("%s: %.1f%%, want %v%%", path, got, want)
		}
	}
}
