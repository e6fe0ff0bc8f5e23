package h1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// TestMalformedRequestsEndTheConnection: each is answered with what says why, no
// handler sees it, and nothing behind it is read as a request.
func TestMalformedRequestsEndTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"two framings":              {request("POST", "Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400},
		"chunks in HTTP/1.0":        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":               {request("POST", "Content-Length: 3", "Content-Length: 3") + "abc", 400},
		"a bare LF":                 {"GET / HTTP/1.1\nHost: a\n\n", 400},
		"a folded line":             {get("A: 1", " 2"), 400},
		"a blank before the colon":  {get("A : 1"), 400},
		"two hosts":                 {get("Host: other.example"), 400},
		"no host":                   {"GET / HTTP/1.1\r\n\r\n", 400},
		"an expectation":            {request("POST", "Content-Length: 3", "Expect: miracles") + "abc", 417},
		"another coding":            {request("POST", "Transfer-Encoding: gzip") + "abc", 501},
		"HTTP/2":                    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"a target beyond the limit": {"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"fields beyond the limit":   {get("A: " + strings.Repeat("a", 40<<10)), 431},
	} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int32
			h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) })
			answer := say(t, serve(t, &h1.Server{Handler: h}, wire.Options{}), c.request+get(last))
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
			if err != nil || res.StatusCode != c.status || !res.Close || strings.Count(answer, "HTTP/1.") != 1 {
				t.Errorf("got %q, want one answer %d", answer, c.status)
			}
			if served.Load() != 0 {
				t.Error("a handler saw it")
			}
		})
	}
}

// TestRequestsComeInAnyPieces cuts a dialogue of several requests at every byte.
func TestRequestsComeInAnyPieces(t *testing.T) {
	addr := serve(t, &h1.Server{Handler: http.HandlerFunc(echo)}, wire.Options{})
	dialogue := request("POST", "Content-Length: 5") + "hello" +
		request("POST", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\nA: 1\r\n\r\n\r\n" + get() + get(last)
	want := changing.ReplaceAllString(say(t, addr, dialogue), "")
	if n := strings.Count(want, "HTTP/1.1 200"); n != 4 {
		t.Fatalf("%d answers: %s", n, want)
	}
	for cut := 1; cut < len(dialogue); cut++ {
		c := testkit.Dial(t, addr)
		io.WriteString(c, dialogue[:cut])
		if cut%7 == 0 {
			runtime.Gosched() // so that some pieces come alone
		}
		io.WriteString(c, dialogue[cut:])
		got, err := io.ReadAll(c)
		c.Close()
		if s := changing.ReplaceAllString(string(got), ""); s != want || err != nil {
			t.Fatalf("cut at %d: %q, %v", cut, s, err)
		}
	}
}

// TestAClientThatLeavesEndsItsRequest, whether its connection has a socket that
// can be watched or must be read.
func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	causes := make(chan error, 1)
	begun := make(chan bool, 1)
	srv := &h1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		begun <- true
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})}
	wants := func(t *testing.T, leave func()) {
		t.Helper()
		<-begun
		leave()
		select {
		case err := <-causes:
			if !errors.Is(err, h1.ErrGone) {
				t.Errorf("cause %v", err)
			}
		case <-time.After(testkit.Patience):
			t.Fatal("not noticed")
		}
	}
	addr := serve(t, srv, wire.Options{})
	for _, text := range []string{get(), request("POST", "Content-Length: 5") + "hello"} {
		c := testkit.Dial(t, addr)
		io.WriteString(c, text)
		wants(t, func() { c.Close() })
		client, server := net.Pipe()
		set := wire.NewSet(wire.Options{})
		done := make(chan bool)
		go func() {
			defer close(done)
			w := set.Add(server)
			srv.Serve(context.Background(), w, w, anybody{})
		}()
		io.WriteString(client, text)
		wants(t, func() { client.Close() })
		<-done
		set.Close()
	}
}

// TestWhatIsReadToNoticeALeavingIsNotLost: the next request comes while one is
// served, on a connection that has no socket.
func TestWhatIsReadToNoticeALeavingIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &h1.Server{Head: http1.Limits{}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			fmt.Fprint(w, r.Method)
		})}
		client, server := net.Pipe()
		set := wire.NewSet(wire.Options{})
		defer set.Close()
		done := make(chan bool)
		go func() {
			defer close(done)
			w := set.Add(server)
			srv.Serve(context.Background(), w, w, anybody{})
		}()
		go io.WriteString(client, get()+request("PUT")+request("DELETE", last))
		got, _ := io.ReadAll(client)
		for _, want := range []string{"\r\n\r\nGET", "\r\n\r\nPUT", "\r\n\r\nDELETE"} {
			if !strings.Contains(string(got), want) {
				t.Errorf("no %q in %q", want, got)
			}
		}
		<-done
	})
}

// TestWhatIsSentBehindAnUpgradeIsReadFirst, from the connection as from the
// reader.
func TestWhatIsSentBehindAnUpgradeIsReadFirst(t *testing.T) {
	for _, reader := range []bool{false, true} {
		addr := serve(t, &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			var r io.Reader = c
			if reader {
				r = rw
			}
			b := make([]byte, len("beyond and more"))
			n, err := io.ReadFull(r, b)
			fmt.Fprintf(c, "%q %v", b[:n], err)
			c.Close()
		})}, wire.Options{})
		c := testkit.Dial(t, addr)
		io.WriteString(c, get("Connection: upgrade", "Upgrade: x")+"beyond")
		io.WriteString(c, " and more")
		if got, _ := io.ReadAll(c); string(got) != `"beyond and more" <nil>` {
			t.Errorf("got %s", got)
		}
	}
}

// TestAHandlerThatEndsItsGoroutine ends its connection, and nothing is left.
func TestAHandlerThatEndsItsGoroutine(t *testing.T) {
	addr := serve(t, &h1.Server{
		Handler:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }),
		Panicked: func(v any) { t.Errorf("panic: %v", v) },
	}, wire.Options{})
	if got := say(t, addr, get()); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestADrainLosesNothing: clients ask on kept connections, one request after the
// other, while the server is told to end.
func TestADrainLosesNothing(t *testing.T) {
	var served atomic.Int32
	srv := &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		text(w, "hello")
	})}
	addr := serve(t, srv, wire.Options{})
	var wg sync.WaitGroup
	var answered, ended atomic.Int32
	for range 20 {
		wg.Go(func() {
			c := testkit.Dial(t, addr)
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				if _, err := io.WriteString(c, get()); err != nil {
					return
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					ended.Add(1) // no answer to what may never have been read: see below
					return
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				if answered.Add(1); res.Close {
					return
				}
			}
		})
	}
	testkit.Within(t, testkit.Patience, "all are at it", func() bool { return answered.Load() > 500 })
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if served.Load() != answered.Load() {
		t.Errorf("%d requests were served, %d answered", served.Load(), answered.Load())
	}
	if n := ended.Load(); n > 0 {
		t.Errorf("%d connections were closed under a request", n)
	}
}

// TestAnInterruptedBodyIsNoRequest: somebody has ended the reading of a body, and
// the connection goes no further.
func TestAnInterruptedBodyIsNoRequest(t *testing.T) {
	addr := serve(t, &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
		if _, err := r.Body.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		text(w, "x")
	})}, wire.Options{})
	c := testkit.Dial(t, addr)
	io.WriteString(c, request("POST", "Content-Length: 5"))
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || !res.Close {
		t.Fatalf("%v, close %t", err, res != nil && res.Close)
	}
	io.Copy(io.Discard, res.Body)
	io.WriteString(c, get()[:5])
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("it goes on: %v", err)
	}
}

// TestAnEmptyLineAsksForNothing: some clients send one behind a body. The
// connection is idle then, and what follows is a request.
func TestAnEmptyLineAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &h1.Server{HeadTime: time.Second, Handler: http.HandlerFunc(echo)}
		client, server := net.Pipe()
		set := wire.NewSet(wire.Options{})
		defer set.Close()
		done := make(chan bool)
		go func() {
			defer close(done)
			w := set.Add(server)
			srv.Serve(context.Background(), w, w, anybody{})
		}()
		r := bufio.NewReader(client)
		for range 2 {
			io.WriteString(client, request("POST", "Content-Length: 2")+"ab")
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			io.WriteString(client, "\r\n")
			time.Sleep(30 * time.Second) // longer than a head may take
		}
		client.Close()
		<-done
	})
}

// TestEmptyLinesInFrontOfARequest are the same in whatever pieces they come.
func TestEmptyLinesInFrontOfARequest(t *testing.T) {
	for _, pieces := range [][]string{{"\r\n\r\n" + get(last)}, {"\r\n", "\r\n", get(last)}, {"\r", "\n\r", "\n" + get(last)}} {
		synctest.Test(t, func(t *testing.T) {
			client, server := newDuplex()
			set := wire.NewSet(wire.Options{})
			defer set.Close()
			srv := &h1.Server{Handler: http.HandlerFunc(echo)}
			var wg sync.WaitGroup
			wg.Go(func() {
				w := set.Add(server)
				srv.Serve(context.Background(), w, w, anybody{})
			})
			wg.Go(func() {
				for _, p := range pieces {
					io.WriteString(client, p)
					time.Sleep(time.Millisecond)
				}
			})
			if res, err := http.ReadResponse(bufio.NewReader(client), nil); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("%q: %v, %v", pieces, res, err)
			}
			client.Close()
			wg.Wait()
		})
	}
}

// TestARequestIsForgotten once it is answered: what hangs on it may be large, and
// its connection idles.
func TestARequestIsForgotten(t *testing.T) {
	gone := make(chan bool, 9)
	addr := serve(t, &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		large := new([1 << 20]byte)
		runtime.AddCleanup(large, func(int) { gone <- true }, 0)
		*r = *r.WithContext(context.WithValue(r.Context(), large, large))
		r.Body.(interface{ Read([]byte) (int, error) }).Read(make([]byte, 9))
		w.Header().Set("Trailer", "A")
		text(w, "x")
	})}, wire.Options{})
	for _, s := range []string{get(), request("POST", "Content-Length: 5") + "hello", request("POST", "Transfer-Encoding: chunked", "Trailer: A") + "1\r\nx\r\n0\r\nA: b\r\n\r\n"} {
		c := testkit.Dial(t, addr)
		io.WriteString(c, s)
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		testkit.Within(t, testkit.Patience, "it is forgotten", func() bool {
			runtime.GC()
			return len(gone) > 0
		})
		<-gone
	}
}

// TestCloseEndsRequests that wait for something: nobody takes their answers.
func TestCloseEndsRequests(t *testing.T) {
	begun, ended := make(chan bool), make(chan bool)
	srv := &h1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})}
	addr := serve(t, srv, wire.Options{})
	io.WriteString(testkit.Dial(t, addr), get())
	<-begun
	srv.Close()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Fatal("it goes on")
	}
}

// A poured connection brings a request, and its body without a pause.
type poured struct {
	net.Conn
	left int // reads, before it ends
}

func (c *poured) Read(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		return 0, io.EOF
	}
	if c.left == 1000 {
		return copy(p, request("POST", "Transfer-Encoding: chunked")), nil
	}
	return copy(p, strings.Repeat("1\r\nx\r\n", len(p)/6)), nil
}

// TestWhoPoursABodyLeavesOthersTheirTurns: a client that sends faster than its body
// is used never waits, and would have a processor for as long as the runtime allows.
func TestWhoPoursABodyLeavesOthersTheirTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var turns, during atomic.Int64
	srv := &h1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		before := turns.Load()
		io.Copy(io.Discard, r.Body)
		during.Store(turns.Load() - before)
	})}
	set := wire.NewSet(wire.Options{})
	defer set.Close()
	nobody, none := net.Pipe()
	nobody.Close()
	done := make(chan bool)
	go func() {
		defer close(done)
		w := set.Add(&poured{Conn: none, left: 1001})
		srv.Serve(context.Background(), w, w, anybody{})
	}()
	for {
		select {
		case <-done:
			if n := during.Load(); n < 100 {
				t.Errorf("others had %d turns in 1,000 reads", n)
			}
			return
		default:
			turns.Add(1)
			runtime.Gosched()
		}
	}
}
