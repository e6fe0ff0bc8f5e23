package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestCloseWhileReading closes a body that another goroutine reads, as a
// reader ahead of its client may do.
func TestCloseWhileReading(t *testing.T) {
	cl, _ := listener(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	for range 20 {
		ca := call("GET", "/")
		ca.Idle = time.Minute
		res, err := cl.Do(context.Background(), ca)
		if err != nil {
			t.Fatal(err)
		}
		begun, done := make(chan bool), make(chan error)
		go func() {
			_, err := io.ReadFull(res.Body, make([]byte, 1<<10))
			close(begun)
			for err == nil {
				_, err = res.Body.Read(make([]byte, 1<<10))
			}
			done <- err
		}()
		<-begun
		res.Body.Close()
		if err := <-done; err == io.EOF {
			t.Error("a body that was closed has ended as if it were whole")
		}
	}
	if kept(cl) != 0 {
		t.Error("a connection is kept on which half a body is left")
	}
}

// TestSwitchInsideARequest has a server switch protocols before it has the
// request: what is still sent of that would be read as the new protocol.
func TestSwitchInsideARequest(t *testing.T) {
	cl, _ := listener(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, r)
		}
	})
	src, feed := io.Pipe()
	defer feed.Close()
	c := call("POST", "/")
	c.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	c.Request.ContentLength = -1
	c.Body = func() io.ReadCloser { return src }
	if res, err := cl.Do(context.Background(), c); err == nil {
		res.Body.Close()
		t.Error("it is taken for an answer")
	}
	c = call("GET", "/")
	c.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"WebSocket"}}
	res, err := cl.Do(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
