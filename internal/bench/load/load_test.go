//go:build linux

package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAnswer(t *testing.T) {
	const length, chunks = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nxxxxx", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxxx\r\n0\r\n\r\n"
	cases := map[string]struct {
		text   string
		status int
	}{
		"a length":         {length, 200},
		"chunks":           {chunks, 200},
		"no chunk":         {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 404},
		"not modified":     {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304},
		"an upgrade":       {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 101},
		"behind a 103":     {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + length, 200},
		"no body":          {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200},
		"no response":      {"hello\r\n\r\n", 0},
		"chunks after 103": {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + chunks, 200},
	}
	for name, c := range cases {
		for size := 1; size <= len(c.text); size++ {
			a := answer{}
			for rest := c.text; rest != ""; {
				if a.whole {
					t.Errorf("%s, in pieces of %d: whole before %q", name, size, rest)
					break
				}
				n := min(size, len(rest))
				a.take([]byte(rest[:n]))
				rest = rest[n:]
			}
			if !a.whole || a.status != c.status {
				t.Errorf("%s, in pieces of %d: whole %t, status %d, want %d", name, size, a.whole, a.status, c.status)
			}
		}
	}
}

func TestLatencies(t *testing.T) {
	var d []time.Duration
	for i := range 1001 {
		d = append(d, time.Duration(1000-i)*time.Microsecond)
	}
	var r Result
	r.latencies(d)
	if r.P50 != 500 || r.P99 != 990 || r.P999 != 999 || r.Max != 1000 {
		t.Errorf("got %+v", r)
	}
}

func TestExchange(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); r.URL.Path == "/bad" || n != 3 {
			w.WriteHeader(500)
		}
	}))
	defer srv.Close()
	post := func(path string) []byte {
		return []byte("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	}
	for name, c := range map[string]struct {
		spec         Spec
		done, failed int
	}{
		"closed":      {Spec{Count: 100, Ask: [][]byte{post("/")}}, 100, 0},
		"in an order": {Spec{Count: 100, Ask: [][]byte{post("/"), post("/bad")}, Order: []int32{0, 0, 0, 1}}, 100, 25},
	} {
		c.spec.Addr, c.spec.Conns, c.spec.Seconds = srv.Listener.Addr().String(), 4, 60
		res, err := Exchange(c.spec)
		if err != nil || res.Done != c.done || res.Failed != c.failed || res.P50 <= 0 || res.P50 > res.Max {
			t.Errorf("%s: %+v %v", name, res, err)
		}
	}
}

// Open loop: all that are due are sent, and what they wait for a connection counts.
func TestExchangeAtARate(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer srv.Close()
	res, err := Exchange(Spec{Addr: srv.Listener.Addr().String(), Conns: 1, Rate: 1000, Seconds: .2, Ask: [][]byte{[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}})
	if err != nil || res.Done < 150 || res.Done > 250 || res.Failed > 0 {
		t.Errorf("%+v %v", res, err)
	}
	hung := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hung.Close()
	res, err = Exchange(Spec{Addr: hung.Listener.Addr().String(), Conns: 2, Rate: 1000, Seconds: .1, Ask: [][]byte{[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}})
	if err != nil || res.Done != 0 || res.Failed < 50 || res.P50 < 1e6 {
		t.Errorf("a server that hangs: %+v %v", res, err)
	}
}

func TestHandshakesAndIdle(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer srv.Close()
	s := Spec{Addr: srv.Listener.Addr().String(), Conns: 3, Seconds: .1, TLS: true, Ask: [][]byte{[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}}
	if res, err := Handshakes(s); err != nil || res.Done == 0 || res.Failed > 0 {
		t.Errorf("handshakes: %+v %v", res, err)
	}
	var res Result
	if err := Idle(s, func(Result) error { return nil }, &res); err != nil || res.Alive != 3 {
		t.Errorf("idle: %+v %v", res, err)
	}
	res = Result{}
	err := Idle(s, func(Result) error { srv.CloseClientConnections(); return nil }, &res)
	if err != nil || res.Alive != 0 {
		t.Errorf("closed by the server: %+v %v", res, err)
	}
	if err := Main(strings.NewReader(`{"Kind":"none"}`), io.Discard); err == nil {
		t.Error("a load that does not exist")
	}
}
