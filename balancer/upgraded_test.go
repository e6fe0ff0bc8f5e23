package balancer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// tunnelled asks a server by a pool for an upgrade and returns the client's end, from
// behind the head of the 101.
func tunnelled(t *testing.T, server func(c net.Conn, in *bufio.Reader)) (conn *net.TCPConn, in *bufio.Reader) {
	t.Helper()
	url, _ := testkit.HTTPBackend(t, func(c net.Conn, r *http.Request) { server(c, bufio.NewReader(c)) })
	front := httptest.NewServer(newPool(t, Backends(url), Options{}))
	t.Cleanup(front.Close)
	conn = testkit.Dial(t, front.Listener.Addr().String())
	if _, err := io.WriteString(conn, "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in = bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	return conn, in
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

// TestAHalfClosedTunnel: whoever has said all is answered all the same.
func TestAHalfClosedTunnel(t *testing.T) {
	conn, in := tunnelled(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(c, switching+"welcome, ")
		said, _ := io.ReadAll(in) // which ends with the client's half
		fmt.Fprintf(c, "you said %q", said)
	})
	if _, err := io.WriteString(conn, "goodbye"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || string(got) != `welcome, you said "goodbye"` {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestWhatAServerSaidBeforeItLeft: a client that still talks to a server that has gone hears
// what that said with its 101.
func TestWhatAServerSaidBeforeItLeft(t *testing.T) {
	farewell := strings.Repeat("no more of this. ", 1<<8) // of which nothing waits to be sent when it leaves
	for range 50 {
		conn, in := tunnelled(t, func(c net.Conn, in *bufio.Reader) {
			_, _ = io.WriteString(c, switching+farewell)
		})
		talk := bytes.Repeat([]byte("talk "), 1<<10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 200 {
				if _, err := conn.Write(talk); err != nil {
					return // it has been told
				}
			}
		}()
		got, err := io.ReadAll(in)
		if string(got) != farewell {
			t.Errorf("%d bytes of %d, %v", len(got), len(farewell), err)
		}
		conn.Close()
		<-done
	}
}

// TestAClientThatLeavesATunnel: a server that does not notice holds its place no longer than
// one that may still answer.
func TestAClientThatLeavesATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		b := &body{try: new(try), src: client}
		b.over.Store(true) // nothing of a try has to be freed
		u := &upgraded{body: b, w: halfCloser{client}}
		began := time.Now()
		if err := u.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for range 3 {
				time.Sleep(lastWords / 2) // in the bubble
				_, _ = io.WriteString(server, "more, ")
			}
		}()
		got, err := io.ReadAll(u)
		if took := time.Since(began); string(got) != "more, more, more, " || err == nil || took != 3*lastWords/2+lastWords {
			t.Errorf("got %q, %v after %v", got, err, took)
		}
	})
}

// A halfCloser can be half-closed, which a pipe cannot.
type halfCloser struct{ io.Writer }

func (halfCloser) CloseWrite() error { return nil }
