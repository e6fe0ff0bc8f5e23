package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// post sends a chunked body and trailers, as written, to the server at addr.
func post(t *testing.T, addr, announced, trailers string) (status int, body string) {
	t.Helper()
	c := testkit.Dial(t, addr)
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTrailer: %s\r\n\r\n1\r\nx\r\n0\r\n%s\r\n", announced, trailers)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestTrailersThatMustNotPass holds that only what was announced, and a client
// might say in its header, follows a body.
func TestTrailersThatMustNotPass(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, len(r.Trailer), r.Trailer["X-Sum"])
	}
	srv := httptest.NewServer(http.HandlerFunc(h))
	defer srv.Close()
	ways := map[string]Options{
		"our own connections": {},
		"another transport":   {Transport: func(Backend) http.RoundTripper { return http.DefaultTransport }},
	}
	for name, opts := range ways {
		p := newPool(t, Backends(srv.URL), opts)
		front := httptest.NewServer(p)
		for _, c := range []struct{ announced, trailers, want string }{
			{"X-Sum", "X-Sum: 7\r\n", "1 [7]"},
			{"X-Sum", "X-Sum: 7\r\nContent-Length: 9\r\nX-Forwarded-For: 127.0.0.1\r\nX-Late: 1\r\n", "1 [7]"},
			{"X-Sum, Cookie, X-Forwarded-For, X-Original-Url, X_Sum", "X-Sum: 7\r\nCookie: a=1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Original-Url: /admin\r\nX_Sum: 8\r\n", "1 [7]"},
			{"a b", "X-Sum: 7\r\n", "0 []"},
			{"Cookie", "Cookie: a=1\r\n", "0 []"},
		} {
			if status, got := post(t, front.Listener.Addr().String(), c.announced, c.trailers); status != 200 || got != c.want {
				t.Errorf("%s: %q announced, %q sent: got %d %q, want %q", name, c.announced, c.trailers, status, got, c.want)
			}
		}
		front.Close()
	}
}

// TestInvalidRequestIsNobodysFault has a request that can't be sent: no backend
// is judged by it, nor asked twice.
func TestInvalidRequestIsNobodysFault(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	p := newPool(t, Backends(srv.URL, "http://127.0.0.1:1"), Options{Policy: foremost{}})
	if w := get(p, "GET", "/", nil); w.Code != 404 {
		t.Fatalf("got %d", w.Code)
	}
	for range 30 {
		if w := get(p, "GET", "/", nil, func(r *http.Request) { r.URL.Path = "http://other.example/" }); w.Code != http.StatusBadGateway {
			t.Fatalf("got %d", w.Code)
		}
	}
	if s := p.Backends(); s[0].State != health.Up || s[1].Requests != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestSenselessAnswers has backends answer with what httputil.ReverseProxy
// would panic over, or would leave open.
func TestSenselessAnswers(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 042 Odd\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
	} {
		closed := make(chan bool, 1)
		addr := testkit.Backend(t, func(c net.Conn) {
			r := bufio.NewReader(c)
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			_, err := r.ReadByte()
			closed <- err == io.EOF
		})
		for name, opts := range map[string]Options{
			"our own connections": {},
			"another transport":   {Transport: func(Backend) http.RoundTripper { return &http.Transport{} }},
		} {
			p := newPool(t, Backends("http://"+addr), opts)
			w := get(p, "POST", "/", nil)
			if w.Code != http.StatusBadGateway {
				t.Errorf("%s: %q: got %d, want 502", name, answer, w.Code)
			}
			if n := p.Backends()[0].InFlight; n != 0 {
				t.Errorf("%s: %q: %d in flight", name, answer, n)
			}
			if !<-closed {
				t.Errorf("%s: %q: the connection was left open", name, answer)
			}
		}
	}
}

// summed is a body that tells its sum at its end, as the server's does, and
// comes there only when it is let.
type summed struct {
	request *http.Request
	begun   bool
	let     chan struct{}
}

func (b *summed) Close() error { return nil }
func (b *summed) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		p[0] = 'x'
		return 1, nil
	}
	<-b.let
	b.request.Trailer["X-Sum"] = []string{"7"}
	return 0, io.EOF
}

// TestTrailersOfASecondAttempt has a backend turn a request down before its end
// has come. The attempt that was given up still reads when the next begins.
func TestTrailersOfASecondAttempt(t *testing.T) {
	let := make(chan struct{})
	busy := testkit.Backend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		close(let)
		_, _ = io.Copy(io.Discard, r)
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, string(b), r.Trailer)
	}))
	defer srv.Close()
	p := newPool(t, Backends("http://"+busy, srv.URL), Options{Policy: foremost{}})
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": nil}
	r.Body = &summed{request: r, let: let}
	res, err := p.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "xmap[X-Sum:[7]]" {
		t.Errorf("got %d %q, %v", res.StatusCode, got, err)
	}
}
