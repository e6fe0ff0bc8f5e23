package edge_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// An announced listener stands for one that speaks the PROXY protocol: the
// first line of each connection is its client's address.
type announced struct{ net.Listener }

func (l announced) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &announcedConn{Conn: c, r: bufio.NewReader(c)}, err
}

type announcedConn struct {
	net.Conn
	r    *bufio.Reader
	once sync.Once
	from string
}

func (c *announcedConn) RemoteAddr() net.Addr {
	c.once.Do(func() { c.from, _ = c.r.ReadString('\n') })
	return addr(strings.TrimSpace(c.from))
}

func (c *announcedConn) Read(p []byte) (int, error) {
	c.RemoteAddr()
	return c.r.Read(p)
}

func TestWrap(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, edge.Client(r)) })
	srv := serve(t, h, edge.Options{Wrap: func(l net.Listener) net.Listener { return announced{l} }})
	slow := testkit.Dial(t, srv.Addr().String()) // says nothing, and holds nobody up
	defer slow.Close()
	c := testkit.Dial(t, srv.Addr().String())
	defer c.Close()
	io.WriteString(c, "203.0.113.5:99\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !bytes.HasSuffix(got, []byte("203.0.113.5")) {
		t.Errorf("got %q, %v", got, err)
	}
}
