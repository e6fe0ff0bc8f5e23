package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// A script is what a server does with one connection. n counts connections
// from 0.
type script func(n int, c net.Conn, r *bufio.Reader)

// piped returns a transport whose connections are pipes to the script.
func piped(t *testing.T, s script) (*Transport, *atomic.Int32) {
	dials := new(atomic.Int32)
	var wg sync.WaitGroup
	cl := New(func(context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		n := int(dials.Add(1)) - 1
		wg.Go(func() {
			defer b.Close()
			s(n, b, bufio.NewReader(b))
		})
		return a, nil
	})
	t.Cleanup(func() {
		cl.CloseIdleConnections()
		wg.Wait()
	})
	return cl, dials
}

// kept returns how many connections the client keeps.
func kept(cl *Transport) int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return len(cl.idle)
}

// keep answers every request with the given head and body, until the client
// hangs up.
func keep(response string) script {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func call(method, target string) *Call {
	u, err := url.Parse("http://shop.example" + target)
	if err != nil {
		panic(err)
	}
	return &Call{Request: &http.Request{Method: method, URL: u, Host: "shop.example"}, Header: http.Header{}}
}

// do sends the call and reads the whole body.
func do(cl *Transport, c *Call) (string, error) {
	res, err := cl.Do(context.Background(), c)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestKeepsConnectionsFourSeconds(t *testing.T) {
	cases := []struct {
		name  string
		head  string // of each response
		idle  time.Duration
		fresh bool
		dials int32
	}{
		{"at once", "", 0, false, 1},
		{"within four seconds", "", 3900 * time.Millisecond, false, 1},
		{"after four", "", 4 * time.Second, false, 2},
		{"its word is longer", "Keep-Alive: timeout=60\r\n", 4 * time.Second, false, 2},
		{"its word is shorter", "Keep-Alive: timeout=3, max=100\r\n", 1900 * time.Millisecond, false, 1},
		{"its word, less a second", "Keep-Alive: timeout=3, max=100\r\n", 2 * time.Second, false, 2},
		{"its word is a second", "Keep-Alive: timeout=1\r\n", 0, false, 2},
		{"it closes", "Connection: close\r\n", 0, false, 2},
		{"unsafe, within a second", "", 900 * time.Millisecond, true, 1},
		{"unsafe, later", "", time.Second, true, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, dials := piped(t, keep("HTTP/1.1 200 OK\r\n"+c.head+"Content-Length: 2\r\n\r\nok"))
				for i := range 2 {
					ca := call("GET", "/")
					ca.Fresh = c.fresh
					if got, err := do(cl, ca); got != "ok" || err != nil {
						t.Fatalf("request %d: %q, %v", i, got, err)
					}
					if i == 0 {
						time.Sleep(c.idle)
					}
				}
				if n := dials.Load(); n != c.dials {
					t.Errorf("got %d connections, want %d", n, c.dials)
				}
				cl.CloseIdleConnections()
			})
		})
	}
}

func TestClosesWhatIdlesAndWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, dials := piped(t, keep(ok))
		if _, err := do(cl, call("GET", "/")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(KeepIdle + 2*grace)
		synctest.Wait()
		if n := kept(cl); n != 0 {
			t.Errorf("%d connections idle on", n)
		}
		// Steady work keeps one for five minutes and no longer.
		dials.Store(0)
		for start := time.Now(); time.Since(start) < MaxAge+time.Minute; time.Sleep(time.Second) {
			if _, err := do(cl, call("GET", "/")); err != nil {
				t.Fatal(err)
			}
		}
		if n := dials.Load(); n != 2 {
			t.Errorf("six minutes took %d connections, want 2", n)
		}
		cl.CloseIdleConnections()
	})
}

// As many connections are kept as are in hand: nothing is closed that is wanted again
// within a tenth of a second. Then 32 are.
func TestKeepsAsManyAsAreInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inHand = 3 * MaxIdle
		cl, dials := piped(t, keep(ok))
		atOnce := func(n int) {
			t.Helper()
			var open []*http.Response
			for range n {
				res, err := cl.Do(context.Background(), call("GET", "/"))
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, res)
			}
			for _, res := range open {
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 50 {
			atOnce(inHand)
			time.Sleep(MoreIdle - time.Millisecond)
		}
		if n := dials.Load(); n != inHand {
			t.Errorf("%d dials, want %d", n, inHand)
		}
		if n := kept(cl); n != inHand {
			t.Errorf("%d are kept, want %d", n, inHand)
		}
		// What is still in hand stays.
		for range 10 {
			atOnce(MaxIdle + 8)
			time.Sleep(MoreIdle / 2)
		}
		if n := kept(cl); n != MaxIdle+8 {
			t.Errorf("%d are kept, want %d", n, MaxIdle+8)
		}
		time.Sleep(MoreIdle/2 + late)
		synctest.Wait()
		if n := kept(cl); n != MaxIdle {
			t.Errorf("a tenth of a second later %d are kept, want %d", n, MaxIdle)
		}
		if n := dials.Load(); n != inHand {
			t.Errorf("%d dials in the end, want %d", n, inHand)
		}
		time.Sleep(KeepIdle)
		synctest.Wait()
		if n := kept(cl); n != 0 {
			t.Errorf("%d idle on", n)
		}
		cl.CloseIdleConnections()
	})
}

// listener serves scripts over TCP, where a connection can be looked at.
func listener(t *testing.T, s script) (*Transport, *atomic.Int32) {
	t.Helper()
	conns := new(atomic.Int32)
	addr := testkit.Backend(t, func(c net.Conn) {
		n := int(conns.Add(1)) - 1
		s(n, c, bufio.NewReader(c))
	})
	cl := New(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	})
	t.Cleanup(cl.CloseIdleConnections)
	return cl, conns
}

// A connection that its server has closed, or said something on that nobody asked for,
// is not used: no request is lost over it, and no answer is another's.
func TestAKeptConnectionIsLookedAtBeforeItIsUsed(t *testing.T) {
	for name, stray := range map[string]string{
		"closed":             "",
		"an answer too many": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
	} {
		for _, body := range []string{"", "order", "here"} {
			t.Run(name+"/"+body, func(t *testing.T) {
				asked, spoilt := make(chan bool), make(chan bool)
				answer, spoil := make(chan bool), make(chan bool)
				cl, conns := listener(t, func(n int, c net.Conn, r *bufio.Reader) {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if n < 2 {
						asked <- true
						<-answer
					}
					_, _ = io.WriteString(c, ok)
					if n < 2 {
						<-spoil
						_, _ = io.WriteString(c, stray)
						if stray == "" {
							_ = c.Close()
						}
						spoilt <- true // over loopback it is here as soon as it was sent
					}
					_, _ = io.Copy(io.Discard, r)
				})
				ask := func() {
					ca := call("POST", "/")
					if body != "" {
						ca.Body = func() io.ReadCloser { return io.NopCloser(strings.NewReader(body)) }
						ca.Request.ContentLength = int64(len(body))
						ca.Here = body == "here"
					}
					if got, err := do(cl, ca); got != "ok" || err != nil {
						t.Errorf("%q, %v", got, err)
					}
				}
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(ask)
				}
				<-asked
				<-asked // both are in hand
				close(answer)
				wg.Wait()
				if n := kept(cl); n != 2 {
					t.Fatalf("%d are kept, want 2", n)
				}
				close(spoil)
				<-spoilt
				<-spoilt
				ask()
				if n := conns.Load(); n != 3 {
					t.Errorf("got %d connections, want 3", n)
				}
				if n := kept(cl); n != 1 {
					t.Errorf("%d are kept, want the one that was made for it", n)
				}
			})
		}
	}
}

func TestOneThatClosesUnderTheRequest(t *testing.T) {
	// The first connection answers once, and hangs up on the next request.
	s := func(n int, c net.Conn, r *bufio.Reader) {
		for i := 0; ; i++ {
			if _, err := http.ReadRequest(r); err != nil || n == 0 && i == 1 {
				return
			}
			_, _ = io.WriteString(c, ok)
		}
	}
	for _, again := range []bool{true, false} {
		cl, conns := listener(t, s)
		for i := range 2 {
			ca := call("GET", "/")
			ca.Again = func() bool { return again }
			got, err := do(cl, ca)
			if want := i == 0 || again; (err == nil && got == "ok") != want {
				t.Errorf("may be sent again: %v; request %d: %q, %v", again, i, got, err)
			}
			if err != nil && !ca.Sent() {
				t.Error("it was sent")
			}
		}
		if n := conns.Load(); again && n != 2 || !again && n != 1 {
			t.Errorf("may be sent again: %v; %d connections", again, n)
		}
	}
}

// TestABodyThatIsHere is sent as any other, over new connections and kept ones, whatever
// room its head leaves; and once more over another, if it may be.
func TestABodyThatIsHere(t *testing.T) {
	type got struct {
		conn  int
		field string
		body  string
	}
	for _, again := range []bool{true, false} {
		for _, long := range []int{10, 3000, 30_000} {
			for _, size := range []int{0, 1, 2047, 2048, 5000, 10_240, mostHere - 1, mostHere, mostHere + 1, InlineBody, InlineBody + 1} {
				heard := make(chan got, 10)
				cl, _ := listener(t, func(n int, c net.Conn, r *bufio.Reader) {
					for i := 0; ; i++ {
						req, err := http.ReadRequest(r)
						if err != nil || n == 0 && i == 2 {
							return // under the third request
						}
						body, err := io.ReadAll(req.Body)
						if err != nil {
							return
						}
						heard <- got{n, req.Header.Get("X-Long"), string(body)}
						_, _ = io.WriteString(c, ok)
					}
				})
				body, field := strings.Repeat("0123456789", size/10+1)[:size], strings.Repeat("f", long)
				for i := range 3 {
					opened := 0
					c := call("POST", "/")
					c.Header.Set("X-Long", field)
					c.Request.ContentLength, c.Here = int64(size), true
					c.Body = func() io.ReadCloser { opened++; return io.NopCloser(strings.NewReader(body)) }
					c.Again = func() bool { return again }
					answer, err := do(cl, c)
					lost := i == 2 && !again
					if lost != (err != nil) || !lost && answer != "ok" || opened == 0 || !c.Sent() {
						t.Fatalf("%d bytes behind %d, request %d: %q, %v, the body was read %d times, sent: %v", size, long, i, answer, err, opened, c.Sent())
					}
					if lost {
						continue
					}
					if g, want := <-heard, (got{i / 2, field, body}); g != want {
						t.Errorf("%d bytes behind %d, request %d: connection %d has heard %d bytes behind %d", size, long, i, g.conn, len(g.body), len(g.field))
					}
				}
			}
		}
	}
}

// TestACallThatIsMadeTwice, as before a server that changes its mind about HTTP/2: its body
// goes with its head as it is said the second time.
func TestACallThatIsMadeTwice(t *testing.T) {
	heard := make(chan string, 1)
	served, _ := listener(t, func(_ int, c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body) // what is missing shows
		heard <- string(body)
		_, _ = io.WriteString(c, ok)
	})
	fails := New(func(context.Context) (net.Conn, error) { return nil, errors.New("not here") })
	for _, here := range []bool{true, false} {
		c := call("POST", "/")
		c.Request.ContentLength, c.Here = 5, true
		c.Body = func() io.ReadCloser { return io.NopCloser(strings.NewReader("order")) }
		if _, err := do(fails, c); err == nil {
			t.Fatal("there is nobody to answer")
		}
		c.Here = here
		if got, err := do(served, c); got != "ok" || err != nil {
			t.Fatalf("here: %v: %q, %v", here, got, err)
		}
		if body := <-heard; body != "order" {
			t.Errorf("here: %v: got %q", here, body)
		}
	}
}

func TestResponses(t *testing.T) {
	cases := []struct {
		name     string
		method   string
		response string
		want     string
		err      string // part of it
		kept     bool
	}{
		{"a length", "GET", ok, "ok", "", true},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", "", true},
		{"until the end", "GET", "HTTP/1.0 200 OK\r\n\r\nok", "ok", "", false},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "", "", true},
		{"nothing", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", "", true},
		{"not modified, of some length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", "", true},
		{"more than asked for", "GET", ok + "HTTP/1.1 200 OK\r\n\r\n", "ok", "", false},
		{"informational first", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok, "ok", "", true},
		{"many informational first", "GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000) + ok, "ok", "", true},
		{"informational without end", "GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", MaxHeader/20), "", "more than 1048576 bytes", false},
		{"garbage", "GET", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "", "malformed", false},
		{"a version of no such connection", "GET", "HTTP/2.0 200 OK\r\n\r\nok", "", "malformed version", false},
		{"nothing at all", "GET", "", "", "the server closed the connection", false},
		{"half a header", "GET", "HTTP/1.1 200 OK\r\nConte", "", "malformed", false},
		{"half a body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "ok", "the server closed the connection", false},
		{"half a chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "ok", "the server closed the connection", false},
		{"nothing, of some length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", "", "", false},
		{"nothing, in chunks", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "", "", false},
		{"a status that is none", "GET", "HTTP/1.1 042 Odd\r\n\r\n" + ok, "", "status code 42", false},
		{"a switch that nobody asked for", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "", "switches to protocol", false},
		{"a switch to nothing", "GET", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", "switches to protocol", false},
		{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "", "Content-Length", false},
		{"a header without end", "GET", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", MaxHeader), "", "more than 1048576 bytes", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cl, _ := piped(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(conn, c.response)
				if c.kept {
					_, _ = r.ReadByte()
				}
			})
			got, err := do(cl, call(c.method, "/"))
			if got != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %q, %v; want %q, %q", got, err, c.want, c.err)
			}
			if got := kept(cl) == 1; got != c.kept {
				t.Errorf("kept: %v", got)
			}
		})
	}
}

// What a server tells beforehand does not prolong the wait for its answer.
func TestInformationalResponsesDoNotProlongTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, _ := piped(t, func(_ int, c net.Conn, r *bufio.Reader) {
			_, err := http.ReadRequest(r)
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n")
			}
		})
		began := time.Now()
		call := call("GET", "/")
		call.Wait = time.Minute
		var late *TimeoutError
		if _, err := do(cl, call); !errors.As(err, &late) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestRequestsAsWritten(t *testing.T) {
	var got string
	cl, _ := piped(t, func(_ int, c net.Conn, r *bufio.Reader) {
		var b strings.Builder
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(r, &b)))
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		if err != nil {
			b.WriteString(err.Error())
		}
		got = b.String()
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	cases := []struct {
		name string
		call func(*Call)
		want string
	}{
		{"plain", func(*Call) {}, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n"},
		{"base", func(c *Call) { c.Base = "/base" }, "GET /base/a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n"},
		{"POST without a body", func(c *Call) { c.Request.Method = "POST" }, "POST /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
		{"its own framing fields do not count", func(c *Call) {
			c.Header = http.Header{"Content-Length": {"9"}, "Transfer-Encoding": {"chunked"}, "Host": {"x"}, "User-Agent": {""}, "Trailer": {"X"}}
		}, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n"},
		{"base alone", func(c *Call) { c.Base, c.Request.URL.Path, c.Request.URL.RawPath = "/base", "", "" }, "GET /base/?x=%20 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n"},
		{"an upgrade", func(c *Call) { c.Header = http.Header{"Connection": {"Upgrade"}} }, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\n\r\n"},
		{"a length", func(c *Call) {
			c.Body, c.Request.ContentLength = func() io.ReadCloser { return io.NopCloser(strings.NewReader("order")) }, 5
		}, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\norder"},
		{"no length, a trailer", func(c *Call) {
			c.Body, c.Request.ContentLength = func() io.ReadCloser { return io.NopCloser(strings.NewReader("order")) }, -1
			c.Request.Trailer, c.Trailer = http.Header{"X-Sum": {"7"}, "Content-Length": {"9"}}, []string{"X-Sum"}
		}, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nTrailer: X-Sum\r\n\r\n5\r\norder\r\n0\r\nX-Sum: 7\r\n\r\n"},
	}
	for _, c := range cases {
		ca := call("GET", "/a%2Fb?x=%20")
		c.call(ca)
		if _, err := do(cl, ca); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestRefusesWhatCouldBeTwoRequests(t *testing.T) {
	cl := New(func(context.Context) (net.Conn, error) { return nil, errors.New("it got through") })
	for name, edit := range map[string]func(*Call){
		"method":         func(c *Call) { c.Request.Method = "GET / HTTP/1.1\r\nX:" },
		"host":           func(c *Call) { c.Request.Host = "a\r\nX: b" },
		"host 2":         func(c *Call) { c.Request.Host = "a/b" },
		"query":          func(c *Call) { c.Request.URL.RawQuery = "a b\r\nX: y" },
		"name":           func(c *Call) { c.Header["X y"] = []string{"z"} },
		"value":          func(c *Call) { c.Header["X"] = []string{"a\r\nY: z"} },
		"trailer":        func(c *Call) { c.Trailer = []string{"Content-Length"} },
		"trailer 2":      func(c *Call) { c.Trailer = []string{"X\r\nY"} },
		"another host's": func(c *Call) { c.Request.URL.Path = "http://other.example/" },
		"no path":        func(c *Call) { c.Base, c.Request.URL.Path = "/base", "admin" },
	} {
		c := call("GET", "/")
		edit(c)
		if _, err := do(cl, c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, host := range []string{"shop.example:8080", "[::1]:80", "xn--bcher-kva.example", "", "a_b"} {
		c := call("GET", "/")
		c.Request.Host = host
		if err := c.write(nil); err != nil {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

func TestTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, _ := piped(t, func(n int, c net.Conn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if n == 1 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = r.ReadByte()
		})
		wait := func(c *Call, want time.Duration, what string) {
			t.Helper()
			start := time.Now()
			_, err := do(cl, c)
			var late *TimeoutError
			if !errors.As(err, &late) || err.Error() != what || time.Since(start) != want {
				t.Errorf("got %v after %v, want %s after %v", err, time.Since(start), what, want)
			}
		}
		c := call("GET", "/")
		c.Wait = time.Minute
		wait(c, time.Minute, "no response for 1m0s")
		c = call("GET", "/")
		c.Wait, c.Idle = time.Minute, time.Second
		wait(c, time.Second, "nothing inside the response for 1s")
		// The wait begins with the end of a long body, however slow it comes.
		c = call("POST", "/")
		c.Wait = time.Minute
		c.Request.ContentLength = -1
		c.Body = func() io.ReadCloser { return &trickle{left: 5, pause: 50 * time.Second} }
		wait(c, 5*50*time.Second+time.Minute, "no response for 1m0s")
		// A server that stops reading is given up too.
		deaf, _ := piped(t, func(_ int, _ net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err == nil {
				time.Sleep(time.Hour)
			}
		})
		c = call("POST", "/")
		c.Wait = time.Minute
		c.Request.ContentLength = 1 << 20
		c.Body = func() io.ReadCloser { return io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))) }
		start := time.Now()
		if _, err := do(deaf, c); err == nil || time.Since(start) != time.Minute+grace {
			t.Errorf("a server that does not read: %v after %v", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
	})
}

// trickle is a body that comes slowly.
type trickle struct {
	left  int
	pause time.Duration
}

func (s *trickle) Close() error { return nil }
func (s *trickle) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(s.pause)
	p[0] = 'x'
	return 1, nil
}

func TestCancelAndAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, _ := piped(t, func(n int, c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if n == 2 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
			}
			_, _ = r.ReadByte()
		})
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := cl.Do(ctx, call("GET", "/")); err != why {
			t.Errorf("cancelled while it waits: %v", err)
		}
		c := call("GET", "/")
		time.AfterFunc(time.Second, func() { c.Abort(why) })
		if _, err := cl.Do(context.Background(), c); err != why {
			t.Errorf("aborted: %v", err)
		}
		ctx, cancel = context.WithCancelCause(context.Background())
		c = call("GET", "/")
		res, err := cl.Do(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		c.Abort(errors.New("too late"))
		time.AfterFunc(time.Second, func() { cancel(why) })
		if b, err := io.ReadAll(res.Body); err != why || string(b) != "ok" {
			t.Errorf("cancelled inside the body: %q, %v", b, err)
		}
		if kept(cl) != 0 {
			t.Error("an interrupted connection is kept")
		}
	})
}

func TestAnAnswerBeforeTheEndOfTheRequest(t *testing.T) {
	cl, _ := listener(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_, _ = io.CopyN(io.Discard, r, 1<<20)
		}
	})
	c := call("PUT", "/")
	c.Request.ContentLength = 64 << 20
	src, feed := io.Pipe()
	c.Body = func() io.ReadCloser { return src }
	go func() {
		_, err := feed.Write(make([]byte, 64<<20))
		_ = feed.CloseWithError(err)
	}()
	res, err := cl.Do(context.Background(), c)
	if err != nil || res.StatusCode != 413 {
		t.Fatalf("got %v, %v", res, err)
	}
	res.Body.Close()
	if kept(cl) != 0 {
		t.Error("a connection with half a request on it is kept")
	}
}

func TestBothDirectionsAtOnce(t *testing.T) {
	cl, _ := piped(t, func(_ int, c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			var b [1]byte
			if _, err := req.Body.Read(b[:]); err != nil {
				break
			}
			fmt.Fprintf(c, "1\r\n%c\r\n", b[0]+1)
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
		_, _ = r.ReadByte()
	})
	c := call("POST", "/")
	c.Request.ContentLength = -1
	src, feed := io.Pipe()
	c.Body = func() io.ReadCloser { return src }
	res, err := cl.Do(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range "abc" {
		if _, err := feed.Write([]byte(string(letter))); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := io.ReadFull(res.Body, b[:]); err != nil || b[0] != byte(letter)+1 {
			t.Fatalf("sent %c, got %c, %v", letter, b[0], err)
		}
	}
	feed.Close()
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
}

func TestInformationalResponsesAreTraced(t *testing.T) {
	cl, _ := piped(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+ok)
			_, _ = r.ReadByte()
		}
	})
	var got string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		got = fmt.Sprint(code, " ", h.Get("Link"))
		return nil
	}})
	res, err := cl.Do(ctx, call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got != "103 </a>" {
		t.Errorf("got %q", got)
	}
}

func TestABodyThatCannotBeReadEndsTheCall(t *testing.T) {
	for _, length := range []int64{100, 1 << 20, -1, 101} {
		cl, _ := piped(t, func(_ int, _ net.Conn, r *bufio.Reader) {
			_, _ = io.Copy(io.Discard, r)
		})
		c := call("POST", "/")
		c.Request.ContentLength, c.Here = length, length == 101
		c.Body = func() io.ReadCloser {
			return io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{}))
		}
		if _, err := do(cl, c); err == nil {
			t.Errorf("length %d: no error", length)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the client left") }

func BenchmarkDo(b *testing.B) {
	cl := New(func(context.Context) (net.Conn, error) {
		a, z := net.Pipe()
		go keep(ok)(0, z, bufio.NewReader(z))
		return a, nil
	})
	defer cl.CloseIdleConnections()
	b.ReportAllocs()
	for b.Loop() {
		c := call("GET", "/product/7?color=red")
		c.Wait, c.Idle = time.Minute, time.Minute
		if _, err := do(cl, c); err != nil {
			b.Fatal(err)
		}
	}
}

// A login of the connection is nobody else's: the connection is closed after
// the answer that may have made one.
func TestLoginOfTheConnectionIsNobodyElses(t *testing.T) {
	fine := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%s\r\nok"
	cases := map[string]struct {
		name, value string // of the request
		answer      string // a field of it
		dials       int32  // for two requests
	}{
		"none":                    {"", "", "", 1},
		"NTLM":                    {"Authorization", "NTLM TlRMTVNTUAAB", "", 2},
		"in small letters":        {"Authorization", "ntlm TlRMTVNTUAAB", "", 2},
		"after a tab":             {"Authorization", "\tNegotiate\tYII", "", 2},
		"in another spelling":     {"authorization", "Negotiate YII", "", 2},
		"with a proxy":            {"Proxy-Authorization", "Negotiate YII", "", 2},
		"Basic":                   {"Authorization", "Basic bmVnb3RpYXRlOm50bG0=", "", 1},
		"Bearer":                  {"Authorization", "Bearer NTLM.Negotiate", "", 1},
		"another field":           {"X-Wants", "NTLM", "", 1},
		"offered":                 {"", "", "WWW-Authenticate: NTLM\r\n", 2},
		"offered among others":    {"", "", "WWW-Authenticate: Basic realm=\"shop\", Negotiate\r\n", 2},
		"offered in a second":     {"", "", "WWW-Authenticate: Basic realm=\"shop\"\r\nwww-authenticate: negotiate\r\n", 2},
		"offered by a proxy":      {"", "", "Proxy-Authenticate: Negotiate\r\n", 2},
		"told of":                 {"", "", "Persistent-Auth: true\r\n", 2},
		"Basic offered":           {"", "", "WWW-Authenticate: Basic realm=\"ntlm\"\r\n", 1},
		"a scheme of longer name": {"", "", "WWW-Authenticate: NTLMv9-Session-Token x\r\n", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cl, dials := piped(t, keep(fmt.Sprintf(fine, c.answer)))
			for range 2 {
				call := call("GET", "/")
				if c.name != "" {
					call.Header[c.name] = []string{c.value}
				}
				if body, err := do(cl, call); err != nil || body != "ok" {
					t.Fatalf("got %q, %v", body, err)
				}
			}
			if n := dials.Load(); n != c.dials {
				t.Errorf("%d connections for two requests, want %d", n, c.dials)
			}
		})
	}
}
