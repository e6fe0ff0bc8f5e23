//go:build unix

package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestADeadlineOfTheRequestBefore: over a kept connection the deadline of an earlier
// request may stand. It ends no wait that is to last longer, and a wait still ends.
func TestADeadlineOfTheRequestBefore(t *testing.T) {
	release := make(chan struct{}, 1)
	cl := listening(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			switch req.URL.Path {
			case "/late":
				<-release
			case "/half":
				_, _ = io.WriteString(c, ok[:20])
				<-release
				_, _ = io.WriteString(c, ok[20:])
				continue
			case "/never":
				continue
			}
			_, _ = io.WriteString(c, ok)
		}
	})
	do := func(path string, wait time.Duration) error {
		c := call("GET", path)
		c.Wait = wait
		res, err := cl.Do(t.Context(), c)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(res.Body)
		return err
	}
	for range 2 { // the second leaves its deadline
		if err := do("/", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	cn := cl.idle[0]
	for _, path := range []string{"/late", "/half"} {
		cn.by = time.Now().Add(50 * time.Millisecond)
		if err := cn.nc.SetDeadline(cn.by); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(200*time.Millisecond, func() { release <- struct{}{} }) // long after that
		if err := do(path, time.Minute); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if kept(cl) != 1 || cl.idle[0] != cn {
		t.Fatal("the connection is not kept")
	}
	var late *TimeoutError
	if err := do("/never", 100*time.Millisecond); !errors.As(err, &late) {
		t.Errorf("a wait that is over ended with %v", err)
	}
}

// listening returns a transport to a server on a socket, which serves each connection by s.
func listening(t *testing.T, s func(c net.Conn, r *bufio.Reader)) *Transport {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s(c, bufio.NewReader(c))
			}()
		}
	}()
	cl := New(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	})
	t.Cleanup(func() {
		cl.CloseIdleConnections()
		_ = l.Close()
	})
	return cl
}
