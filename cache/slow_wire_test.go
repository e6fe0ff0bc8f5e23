package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestSlowReadersOnTheWire: over HTTP/1 and HTTP/2, clients that take nothing
// are cut off for room, and one that reads gets the whole.
func TestSlowReadersOnTheWire(t *testing.T) {
	const size, limit = 900 << 10, 16 << 20
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint("h2=", h2), func(t *testing.T) {
			c, h := open(t, Options{MaxBytes: limit}, files(size, true))
			srv := httptest.NewUnstartedServer(h)
			srv.EnableHTTP2 = h2
			srv.Config.ConnState = func(conn net.Conn, state http.ConnState) {
				if tcp, ok := conn.(*net.TCPConn); ok && state == http.StateNew {
					_ = tcp.SetWriteBuffer(64 << 10)
				}
			}
			if h2 {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			client := srv.Client()
			transport := client.Transport.(*http.Transport)
			transport.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
				conn, err := net.Dial(network, addr)
				if err == nil {
					_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
				}
				return conn, err
			}
			transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
			var stalled []*http.Response
			for i := range 60 {
				res, err := client.Get(fmt.Sprint(srv.URL, "/", i))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				stalled = append(stalled, res)
				if s := c.store.Stats(); s.Used+s.Given > limit*11/10 {
					t.Fatalf("counted: %+v", s)
				}
			}
			res, err := client.Get(srv.URL + "/mine")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || !bytes.Equal(got, noise(size)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if s := c.store.Stats(); s.Abandoned == 0 {
				t.Errorf("nobody was given up: %+v", s)
			}
			cut := 0
			for _, res := range stalled {
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					cut++
				}
			}
			if n := c.store.Stats().Abandoned; cut == 0 || cut > int(n) {
				t.Errorf("%d cut off, %d given up", cut, n)
			}
			// Connections that were given up end in goroutines of the server, which tell nobody.
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
				s := c.store.Stats()
				if s.Loose == 0 && s.Given == 0 && s.Used == s.Held {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("at rest: %+v", s)
				}
			}
		})
	}
}
