package testkit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Listen returns a listener on loopback that is closed with the test.
func Listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

// Nobody returns an address, host:port on loopback, at which nobody listens until the test
// ends: a connection from there keeps it from others.
func Nobody(tb testing.TB) string {
	tb.Helper()
	l := Listen(tb)
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String()
}

// Accept serves each connection of l by f, in a goroutine of its own, and
// closes it afterwards. It returns l's address. The end of the test closes l
// and waits for all of them.
func Accept(tb testing.TB, l net.Listener, f func(net.Conn)) (addr string) {
	tb.Helper()
	var conns sync.WaitGroup
	tb.Cleanup(conns.Wait)
	tb.Cleanup(func() { _ = l.Close() })
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(Patience))
				f(c)
			})
		}
	})
	return l.Addr().String()
}

// Backend is [Accept] on a listener of its own.
func Backend(tb testing.TB, f func(net.Conn)) (addr string) {
	tb.Helper()
	return Accept(tb, Listen(tb), f)
}

// Echo is for [Accept]: it says name, and then sends back what it is sent.
func Echo(name string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := io.WriteString(c, name); err == nil {
			_, _ = io.Copy(c, c)
		}
	}
}

// HTTPBackend reads the head of one request of each connection, has answer
// write what it likes, byte for byte, and closes. It returns its URL and how
// many requests have come.
func HTTPBackend(tb testing.TB, answer func(c net.Conn, r *http.Request)) (url string, asked *atomic.Int64) {
	tb.Helper()
	asked = new(atomic.Int64)
	addr := Backend(tb, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		asked.Add(1)
		answer(c, r)
	})
	return "http://" + addr, asked
}

// Says is for [HTTPBackend]: it reads the request's body and answers text.
func Says(text string) func(net.Conn, *http.Request) {
	return func(c net.Conn, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(c, text) // the client may have seen enough
	}
}

// Dial returns a connection to addr that is closed with the test.
func Dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return c.(*net.TCPConn)
}

// Send sends text to addr over a connection of its own, byte for byte, and
// returns all that comes until the other side closes it.
func Send(tb testing.TB, addr, text string) (answer string) {
	tb.Helper()
	c := Dial(tb, addr)
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		tb.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		tb.Fatal(err)
	}
	return string(all)
}
