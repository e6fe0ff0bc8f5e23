package h3_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/h3"
)

// metric returns a figure of a report, or of one of its parts.
func metric(r health.Report, name string) float64 {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// closedBy returns with what the server has closed c.
func closedBy(tb testing.TB, c *quic.Conn, limit time.Duration) error {
	tb.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(limit): // the test fails
		tb.Errorf("the connection is open after %s", limit)
		return nil
	}
	_, err := c.OpenStream()
	return err
}

// isH3 reports whether err is an error of HTTP/3 by this code.
func isH3(err error, code http3.ErrCode) bool {
	app, ok := errors.AsType[*quic.ApplicationError](err)
	return ok && app.ErrorCode == quic.ApplicationErrorCode(code)
}

// TestSizes: what is too large is answered as over HTTP/1.1.
func TestSizes(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{})
	many := func(n int, name string) (more []pair) {
		for i := range n {
			more = append(more, pair{name + strconv.Itoa(i), "1"})
		}
		return more
	}
	cookies := func(n int) (more []pair) {
		for range n {
			more = append(more, pair{"cookie", "a=b"})
		}
		return more
	}
	for what, c := range map[string]struct {
		fields []pair
		want   int
	}{
		"plain":                {getting("/"), 200},
		"the longest target":   {getting("/" + strings.Repeat("a", 7999)), 200},
		"a longer one":         {getting("/" + strings.Repeat("a", 8000)), 414},
		"far longer":           {getting("/" + strings.Repeat("a", 30_000)), 414},
		"beyond all":           {getting("/" + strings.Repeat("a", 200_000)), 431},
		"a large field":        {getting("/", pair{"x-a", strings.Repeat("a", 32<<10-10)}), 200},
		"a larger one":         {getting("/", pair{"x-a", strings.Repeat("a", 32<<10)}), 431},
		"a huge one":           {getting("/", pair{"x-a", strings.Repeat("a", 1<<20)}), 431},
		"many fields":          {getting("/", many(255, "x")...), 200},
		"too many":             {getting("/", many(257, "x")...), 431},
		"far too many":         {getting("/", many(20_000, "x")...), 431},
		"cookies one by one":   {getting("/", cookies(512)...), 200},
		"too many of them":     {getting("/", cookies(513)...), 431},
		"far too many of them": {getting("/", cookies(30_000)...), 431},
	} {
		conn := f.dial(t, nil)
		s, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(30 * time.Second)) // it cannot fail
		_, _ = s.Write(header(c.fields))                    // of which the server may have had enough
		_ = s.Close()
		if r, err := answer(s); r.status != c.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", what, r.status, err, c.want)
		}
	}
}

// TestSlowClients: who is slow holds nothing for longer than the limits say.
func TestSlowClients(t *testing.T) {
	large := strings.Repeat("0123456789", 500_000)
	ended := make(chan error, 1)
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.URL.Path {
		case "/large":
			_, err = io.WriteString(w, large)
		}
		ended <- err
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}), edge.Options{Limits: edge.Limits{WriteStall: 300 * time.Millisecond, Idle: 500 * time.Millisecond}})

	t.Run("takes nothing", func(t *testing.T) {
		c := f.dial(t, &quic.Config{InitialStreamReceiveWindow: 1 << 10, MaxStreamReceiveWindow: 1 << 10})
		s := c.send(header(getting("/large")))
		if err := <-ended; err == nil {
			t.Error("all was taken")
		}
		if _, err := io.Copy(io.Discard, s); err == nil {
			t.Error("the stream ended as if all had been sent")
		}
	})
	t.Run("takes little by little", func(t *testing.T) {
		c := f.dial(t, &quic.Config{InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10, InitialConnectionReceiveWindow: 64 << 10, MaxConnectionReceiveWindow: 64 << 10})
		s := c.send(header(getting("/large")))
		n, buf := 0, make([]byte, 256<<10)
		for {
			time.Sleep(100 * time.Millisecond) // it is slow, but for less than the limit
			m, err := io.ReadFull(s, buf)
			if n += m; err != nil {
				break
			}
		}
		if err := <-ended; err != nil || n < len(large) {
			t.Errorf("%d of %d bytes: %v", n, len(large), err)
		}
	})
	t.Run("takes not even the header", func(t *testing.T) {
		c := f.dial(t, &quic.Config{InitialStreamReceiveWindow: 1, MaxStreamReceiveWindow: 1, KeepAlivePeriod: 100 * time.Millisecond})
		c.send(header(getting("/")))
		<-ended
		if err := closedBy(t, c.Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
			t.Errorf("closed with %v", err)
		}
	})
	t.Run("says nothing", func(t *testing.T) {
		if err := closedBy(t, f.dial(t, nil).Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
			t.Errorf("closed with %v", err)
		}
	})
	t.Run("begins and goes not on", func(t *testing.T) {
		c := f.dial(t, &quic.Config{KeepAlivePeriod: 100 * time.Millisecond})
		for range 50 {
			c.open(header(getting("/"))[:10])
		}
		if err := closedBy(t, c.Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestStreams: a connection has no more requests than it may, whatever it gives up.
func TestStreams(t *testing.T) {
	var inHand, most atomic.Int64
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := inHand.Add(1)
		defer inHand.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if r.URL.Path == "/stubborn" {
			time.Sleep(100 * time.Millisecond) // it does not hear that nobody waits
			return
		}
		<-r.Context().Done()
	}), edge.Options{Limits: edge.Limits{Streams: 10}})

	t.Run("open", func(t *testing.T) {
		c := f.dial(t, nil)
		n := 0
		for ; n < 100; n++ {
			s, err := c.OpenStream()
			if err != nil {
				break
			}
			_, _ = s.Write(header(getting("/")))
			_ = s.Close()
		}
		if n != 10 {
			t.Errorf("%d streams were open", n)
		}
		testkit.Within(t, 10*time.Second, "all in hand", func() bool { return inHand.Load() == 10 })
		_ = c.CloseWithError(0, "")
		testkit.Within(t, 10*time.Second, "all given up", func() bool { return inHand.Load() == 0 })
	})
	t.Run("given up", func(t *testing.T) {
		c := f.dial(t, nil)
		flood(c, getting("/stubborn"), 100)
		if n := most.Load(); n > 10 {
			t.Errorf("%d requests were in hand at once", n)
		}
		_ = c.CloseWithError(0, "")
		testkit.Within(t, 10*time.Second, "all given up", func() bool { return inHand.Load() == 0 })
	})
	t.Run("given up by handlers that hear of it", func(t *testing.T) {
		c := f.dial(t, nil)
		flood(c, getting("/"), 300)
		r, err := answer(c.send(header([]pair{{":method", "TRACE"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/"}})))
		if err == nil && r.status != 405 {
			t.Errorf("%d, %v", r.status, err)
		}
		_ = c.CloseWithError(0, "")
		testkit.Within(t, 10*time.Second, "all given up", func() bool { return inHand.Load() == 0 })
	})
}

// flood begins requests and gives each up at once.
func flood(c *rawConn, fields []pair, n int) {
	for range n {
		s, err := c.OpenStreamSync(c.tb.Context())
		if err != nil {
			return // closed
		}
		_, _ = s.Write(header(fields))
		time.Sleep(time.Millisecond) // so that the request goes out before its end does
		s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
}

// TestConnections: there are no more than Limits say, of a client and in all, with TCP's.
func TestConnections(t *testing.T) {
	held := make(chan struct{})
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-held
		}
	}), edge.Options{Limits: edge.Limits{Conns: 8, ClientConns: 3}})
	defer close(held)
	var conns []*rawConn
	for range 3 {
		conns = append(conns, f.dial(t, nil))
		conns[len(conns)-1].send(header(getting("/hold")))
	}
	testkit.Within(t, 10*time.Second, "three in hand", func() bool { return metric(f.Report(), "requests_in_flight") == 3 })
	// One more closes at once, since none idles.
	c, err := f.tryDial(t, nil)
	if err == nil {
		err = closedBy(t, c.Conn, 10*time.Second)
	}
	if !isH3(err, http3.ErrCodeExcessiveLoad) {
		t.Errorf("a fourth: %v", err)
	}
	tcp := testkit.Dial(t, f.Addr().String())
	_ = tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := tcp.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("a fourth over TCP: %v", err)
	}
	_ = conns[0].CloseWithError(0, "")
	testkit.Within(t, 10*time.Second, "room", func() bool { return metric(f.Report(), "connections_open") == 2 })
	idle := f.dial(t, nil)
	if r, err := idle.ask(getting("/")); err != nil || r.status != 200 {
		t.Fatalf("%d, %v", r.status, err)
	}
	// That one idles, so it makes room.
	next := f.dial(t, nil)
	if r, err := next.ask(getting("/")); err != nil || r.status != 200 {
		t.Errorf("%d, %v", r.status, err)
	}
	if err := closedBy(t, idle.Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
		t.Errorf("the idle one was closed with %v", err)
	}
	if n := metric(f.Report(), "connections_refused_total"); n != 2 {
		t.Errorf("%v refused", n)
	}
}

func isReset(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok && !errors.Is(err, io.EOF)
}

// TestHandshakes: clients who only begin are made to show that they are there, then
// refused, and nothing of them stays.
func TestHandshakes(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{Limits: edge.Limits{Header: 2 * time.Second}})
	pc := dialUDP(t, f)
	first := firstPackets(t, 120)
	for _, p := range first {
		_, _ = pc.Write(p)
	}
	testkit.Within(t, 10*time.Second, "retries", func() bool { return metric(f.quic.Report(), "retries_total") > 0 })
	if n := metric(f.quic.Report(), "handshakes_open"); n > 64 {
		t.Errorf("%v handshakes are under way of who has not shown that it is there", n)
	}
	// Who is there is served, one round trip later.
	if r, err := f.dial(t, nil).ask(getting("/")); err != nil || r.status != 200 {
		t.Errorf("%d, %v", r.status, err)
	}
	testkit.Within(t, 20*time.Second, "the end of all handshakes", func() bool { return metric(f.quic.Report(), "handshakes_open") == 0 })
	if n := metric(f.Report(), "handshakes_failed_total"); n < 32 {
		t.Errorf("%v handshakes have failed", n)
	}
}

// firstPackets returns the first packets of clients who say nothing more.
func firstPackets(t *testing.T, n int) (packets [][]byte) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for range n {
		go func() {
			c, err := quic.DialAddr(t.Context(), pc.LocalAddr().String(), clientTLS(), &quic.Config{HandshakeIdleTimeout: 5 * time.Second})
			if err == nil {
				_ = c.CloseWithError(0, "")
			}
		}()
	}
	seen := make(map[string]bool)
	buf := make([]byte, 2000)
	for len(packets) < n {
		_ = pc.SetReadDeadline(time.Now().Add(10 * time.Second))
		m, err := pc.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if id := string(buf[5:20]); !seen[id] { // the connection's
			seen[id] = true
			packets = append(packets, append([]byte(nil), buf[:m]...))
		}
	}
	return packets
}

// TestUnread: fast uploads have room to wait in, for as long as their connection is open.
func TestUnread(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 20_000_000 {
			t.Errorf("%d bytes, %v", n, err)
		}
	}), edge.Options{})
	c := f.dial(t, nil)
	s := c.open(header([]pair{{":method", "PUT"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/"}}))
	piece := appendFrame(nil, frameData, make([]byte, 1_000_000))
	for range 20 {
		if _, err := s.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	if r, err := answer(s); r.status != 200 {
		t.Errorf("%d, %v", r.status, err)
	}
	if n := metric(f.quic.Report(), "window_bytes"); n <= 0 || n > 1<<20 {
		t.Errorf("room for %v bytes more", n)
	}
	_ = c.CloseWithError(0, "")
	testkit.Within(t, 10*time.Second, "no room for who has gone", func() bool { return metric(f.quic.Report(), "window_bytes") == 0 })
}

// TestNoEarlyData: what comes before the handshake is done could be sent again by others.
func TestNoEarlyData(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{})
	config := clientTLS()
	config.ClientSessionCache = newSessions()
	for i := range 2 {
		c, err := quic.DialAddrEarly(t.Context(), f.quic.Addr().String(), config, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.OpenStreamSync(t.Context())
		if err == nil {
			_, _ = s.Write(header(getting("/")))
			_ = s.Close()
			_, err = answer(s)
		}
		<-c.HandshakeComplete()
		if state := c.ConnectionState(); state.Used0RTT || state.TLS.DidResume != (i == 1) {
			t.Errorf("connection %d: early data %t, resumed %t, %v", i, state.Used0RTT, state.TLS.DidResume, err)
		}
		_ = c.CloseWithError(0, "")
	}
}

func TestOptions(t *testing.T) {
	for what, opts := range map[string]h3.Options{
		"Port 70000":            {Port: 70000},
		"Port -1":               {Port: -1},
		"Key of 5 bytes":        {Key: []byte("short")},
		"Conn is a nil pointer": {Conn: (*net.UDPConn)(nil)},
		"missing port":          {Addr: "localhost"},
	} {
		if s, err := h3.New(opts); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
			if err == nil {
				_ = s.Close()
			}
		}
	}
	one, err := h3.New(h3.Options{Addr: "127.0.0.1:0", Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := h3.New(h3.Options{Addr: one.Addr().String()}); err == nil {
		_ = s.Close()
		t.Error("two servers have one address")
	}
	for range 2 {
		if err := one.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := one.Serve(edge.Lent{}); err != nil {
		t.Errorf("one that is closed: %v", err)
	}
	if err := one.Serve(edge.Lent{}); err == nil {
		t.Error("it served twice")
	}
	again, err := h3.New(h3.Options{Addr: one.Addr().String()})
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	_ = again.Close()
}
