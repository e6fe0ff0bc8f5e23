package edge

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// start serves h on a port of its own until the test ends.
func start(t *testing.T, h http.Handler, o Options) *Server {
	t.Helper()
	o.Addr, o.Linger = "127.0.0.1:0", -1
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := New(h, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = s.Close()
		<-ended
	})
	return s
}

// ends reports whether the server has closed c.
func ends(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := c.Read(make([]byte, 1))
	nerr, ok := err.(net.Error)
	return err != nil && !(ok && nerr.Timeout())
}

// asks sends a request on c and reports whether an answer came.
func asks(c net.Conn, target string) bool {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil && resp.StatusCode == 200
}

// rest waits until n connections are idle: a client has its answer a moment
// before.
func rest(t *testing.T, s *Server, n int) {
	t.Helper()
	testkit.Within(t, testkit.Patience, fmt.Sprintf("%d connections are idle", n), func() bool {
		s.crowd.mu.Lock()
		defer s.crowd.mu.Unlock()
		idle := 0
		for c := range s.crowd.open {
			if _, idles := c.IdleSince(); idles {
				idle++
			}
		}
		return idle >= n
	})
}

// TestConnectionsBeyondTheLimit: those on which nothing is asked make room, the
// longest idle first; where everybody works, who comes last is closed; and the
// log says so, once a second.
func TestConnectionsBeyondTheLimit(t *testing.T) {
	for name, o := range map[string]Options{
		"of all":        {Limits: Limits{Conns: 3, ClientConns: -1}},
		"of one client": {Limits: Limits{Conns: -1, ClientConns: 3}},
		"of one client, known late": {Limits: Limits{Conns: -1, ClientConns: 3},
			Wrap: func(l net.Listener) net.Listener { return l }},
		"of one client, by net/http": {Limits: Limits{Conns: -1, ClientConns: 3}, NetHTTP: true,
			Wrap: func(l net.Listener) net.Listener { return l }},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			o.Logger = log.Logger()
			hold := make(chan struct{})
			s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hold" {
					w.(http.Flusher).Flush()
					<-hold
				}
			}), o)
			late := o.Wrap != nil
			dial := func() net.Conn {
				c := testkit.Dial(t, s.Addr().String())
				t.Cleanup(func() { c.Close() })
				return c
			}
			first := dial() // nothing is asked on it for the longest time
			if late && !asks(first, "/") {
				t.Fatal("the first is not served")
			}
			rest(t, s, 1)
			second := dial()
			if !asks(second, "/") {
				t.Fatal("the second is not served")
			}
			rest(t, s, 2)
			third := dial()
			if !asks(third, "/hold") {
				t.Fatal("the third is not served")
			}
			for i, idle := range []net.Conn{first, second} {
				next := dial()
				if !asks(next, "/hold") {
					t.Fatalf("no room for another, while %d are idle", 2-i)
				}
				if !ends(idle) {
					t.Errorf("idle connection %d is still there", i)
				}
			}
			if asks(dial(), "/") {
				t.Error("one beyond the limit is served")
			}
			lines := strings.Count(log.String(), "limit")
			if !strings.Contains(log.String(), "level=ERROR") || lines < 1 || lines > 2 {
				t.Errorf("the log: %s", log.String())
			}
			var closed, refused float64
			for _, m := range s.Report().Metrics {
				switch m.Name {
				case "connections_closed_idle_total":
					closed = m.Value
				case "connections_refused_total":
					refused = m.Value
				}
			}
			if closed != 2 || refused != 1 {
				t.Errorf("%g closed, %g refused", closed, refused)
			}
			close(hold)
			testkit.Within(t, testkit.Patience, "three are counted, the one refused last no more", func() bool {
				s.crowd.mu.Lock()
				defer s.crowd.mu.Unlock()
				return len(s.crowd.open) <= 3
			})
		})
	}
}

// exhausted is a listener that has no descriptors left for the first few.
type exhausted struct {
	net.Listener
	times int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.times--; l.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestNoDescriptorsLeft: the log says so, and serving goes on.
func TestNoDescriptorsLeft(t *testing.T) {
	var log testkit.Log
	s := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Options{Logger: log.Logger(),
		Wrap: func(l net.Listener) net.Listener { return &exhausted{l, 3} }})
	c := testkit.Dial(t, s.Addr().String())
	defer c.Close()
	if !asks(c, "/") {
		t.Error("not served")
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "no descriptors left") {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// TestTrustedProxiesHaveNoLimitOfTheirOwn: behind one are all clients.
func TestTrustedProxiesHaveNoLimitOfTheirOwn(t *testing.T) {
	s := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Options{Limits: Limits{ClientConns: 1}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	var conns []net.Conn
	for range 3 {
		c := testkit.Dial(t, s.Addr().String())
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns {
		if !asks(c, "/") {
			t.Errorf("connection %d is not served", i)
		}
	}
}
