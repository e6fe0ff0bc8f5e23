//go:build unix

package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// paired returns a transport whose connections are pairs of sockets to the script.
// They take no ports, of which a minute of fuzzing over loopback would need
// more than there are.
func paired(t *testing.T, s script) *Transport {
	var wg sync.WaitGroup
	var conns int
	cl := New(func(context.Context) (net.Conn, error) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			return nil, err
		}
		var ends [2]net.Conn
		for i, fd := range fds {
			f := os.NewFile(uintptr(fd), "")
			if ends[i], err = net.FileConn(f); err != nil {
				t.Error(err)
			}
			f.Close()
		}
		n := conns
		conns++
		wg.Go(func() {
			defer ends[1].Close()
			s(n, ends[1], bufio.NewReader(ends[1]))
		})
		return ends[0], err
	})
	t.Cleanup(func() {
		cl.CloseIdleConnections()
		wg.Wait()
	})
	return cl
}

// FuzzResponse has a server answer anything, under the standard library's
// proxy: nothing panics, and no byte of it is in the answer to the next request.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		ok, ok + ok, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n" + ok,
		"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n" + ok, "HTTP/1.1 304 Not Modified\r\n\r\n" + ok,
		"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + ok, "HTTP/1.1 099 Odd\r\n\r\n" + ok, "HTTP/1.1 101 Switching\r\n\r\n" + ok,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nok", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok" + ok,
		"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9223372036854775807\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add("GET", s)
		f.Add("HEAD", s)
	}
	f.Fuzz(func(t *testing.T, method, answer string) {
		if !fields.Token(method) || len(answer) > 16<<10 {
			return
		}
		cl := paired(t, func(_ int, c net.Conn, r *bufio.Reader) {
			for {
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.URL.Path == "/second" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Second: 1\r\nContent-Length: 6\r\n\r\nsecond")
					continue
				}
				// In one piece, so that all of it is there at once.
				if _, err := io.WriteString(c, answer); err != nil {
					return
				}
				if !complete(req.Method, answer) {
					return // or the client would wait for the rest
				}
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p := &httputil.ReverseProxy{Transport: cl, Rewrite: func(*httputil.ProxyRequest) {}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		}}
		r := httptest.NewRequest("GET", "http://shop.example/first", nil).WithContext(ctx)
		r.Method = method
		func() {
			defer func() {
				if v := recover(); v != nil && v != http.ErrAbortHandler {
					panic(v)
				}
			}()
			p.ServeHTTP(httptest.NewRecorder(), r)
		}()
		c := call("GET", "/second")
		c.Again = func() bool { return true } // it may have been closed
		res, err := cl.Do(ctx, c)
		if err != nil {
			t.Fatalf("after %q: %v", answer, err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "second" || res.Header.Get("X-Second") != "1" {
			t.Errorf("after %q the next request got %q %v, %v", answer, b, res.Header, err)
		}
	})
}

// complete reports whether answer begins with a response that ends by itself.
func complete(method, answer string) bool {
	r := bufio.NewReader(strings.NewReader(answer))
	for range 16 {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return false
		}
		if res.StatusCode >= 100 && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err == nil && !res.Close
	}
	return false
}
