package balancer

import (
	"bytes"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

// patience bounds what must come soon, on a machine that may be slow.
const patience = 20 * time.Second

// listen returns a listener on loopback that is closed with the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// backend serves each connection by f on a listener, and waits for all.
func backend(t testing.TB, l net.Listener, f func(net.Conn)) string {
	t.Helper()
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { l.Close() })
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				f(c)
			})
		}
	})
	return l.Addr().String()
}

// log is a logger that keeps its lines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// foremost picks the first.
type foremost struct{}

func (foremost) Pick(Query, Candidates) int { return 0 }
