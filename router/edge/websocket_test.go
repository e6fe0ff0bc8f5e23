package edge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// over2 sends an upgrade to a websocket as an extended CONNECT of HTTP/2 (RFC 8441), on a
// connection of its own each, and hands its caller the answer as HTTP/1.1 would have it: so
// clients that know HTTP/1.1 alone can use it.
type over2 struct {
	addr   string
	client *tls.Config // nil: plain
	first  string      // what a proxy in front says
}

// RoundTrip implements [http.RoundTripper].
func (o over2) RoundTrip(r *http.Request) (*http.Response, error) {
	c, err := net.DialTimeout("tcp", o.addr, testkit.Patience)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, o.first); err != nil {
		c.Close()
		return nil, err
	}
	if o.client != nil {
		config := o.client.Clone()
		config.NextProtos = []string{"h2"}
		c = tls.Client(c, config)
	}
	s := &stream8441{Conn: c, fr: http2.NewFramer(c, c)}
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	res, err := s.ask(r)
	if err != nil {
		c.Close()
		return nil, err
	}
	return res, nil
}

// A stream8441 is the only stream of a connection.
type stream8441 struct {
	net.Conn
	fr   *http2.Framer
	rest []byte // of DATA
	end  error  // what comes behind it
}

func (s *stream8441) ask(r *http.Request) (*http.Response, error) {
	_, err := io.WriteString(s.Conn, http2.ClientPreface)
	err = errors.Join(err, s.fr.WriteSettings())
	for err == nil {
		var f http2.Frame
		if f, err = s.fr.ReadFrame(); err != nil {
			break
		}
		if f, ok := f.(*http2.SettingsFrame); ok {
			if v, _ := f.Value(http2.SettingEnableConnectProtocol); v != 1 {
				return nil, errors.New("websockets are not offered")
			}
			break
		}
	}
	if err != nil {
		return nil, err
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", r.Host}, {":path", r.URL.RequestURI()}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	for name, values := range r.Header {
		if name == "Connection" || name == "Upgrade" || name == "Sec-Websocket-Key" {
			continue
		}
		for _, v := range values {
			enc.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: v}) // likewise
		}
	}
	if err := s.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return nil, err
	}
	for {
		f, err := s.fr.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("reset: %v", f.ErrCode)
		case *http2.MetaHeadersFrame:
			return s.answer(r, f), nil
		}
	}
}

func (s *stream8441) answer(r *http.Request, f *http2.MetaHeadersFrame) *http.Response {
	res := &http.Response{Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Request: r, Body: s}
	res.StatusCode, _ = strconv.Atoi(f.PseudoValue("status"))
	for _, f := range f.RegularFields() {
		res.Header.Add(f.Name, f.Value)
	}
	if f.StreamEnded() {
		s.end = io.EOF
	}
	if res.StatusCode == 200 {
		res.StatusCode = 101
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		res.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
		res.Header.Set("Upgrade", "websocket")
		res.Header.Set("Connection", "Upgrade")
	}
	return res
}

// Read reads the stream.
func (s *stream8441) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		f, err := s.fr.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			s.rest = bytes.Clone(f.Data())
			if n := uint32(len(s.rest)); n > 0 {
				if err := errors.Join(s.fr.WriteWindowUpdate(0, n), s.fr.WriteWindowUpdate(1, n)); err != nil {
					s.end = err // behind what has come
				}
			}
			if f.StreamEnded() {
				s.end = io.EOF
			}
		case *http2.RSTStreamFrame:
			s.end = fmt.Errorf("reset: %v", f.ErrCode)
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Write writes to the stream what fits its window: these tests write and read in turns.
func (s *stream8441) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		m := min(len(p)-n, 16<<10)
		err = s.fr.WriteData(1, false, p[n:n+m])
		n += m
	}
	return n, err
}

// Close ends the stream, and the connection.
func (s *stream8441) Close() error {
	return errors.Join(s.fr.WriteData(1, true, nil), s.Conn.Close())
}

// socketShop is a backend with a websocket that says what it hears, at /live, and what is
// none.
func socketShop(t testing.TB, seen chan<- http.Header) *httptest.Server {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			io.WriteString(w, "a page")
			return
		case "/no":
			w.WriteHeader(http.StatusForbidden)
			return
		case "/wrong":
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
				c.Close()
			}
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		if seen != nil {
			seen <- r.Header
		}
		c.SetReadLimit(1 << 20)
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, text) != nil {
				return
			}
			if string(text) == "close" {
				c.Close(websocket.StatusGoingAway, "as asked")
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	return backend
}

// level returns one of a server's figures.
func level(srv *edge.Server, name string) float64 {
	for _, m := range srv.Report().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// TestWebsocketsOverHTTP2 go to a backend of HTTP/1.1 through the pool, byte for byte, are
// closed from either side, and leave nothing; and what is no websocket is not taken for one.
func TestWebsocketsOverHTTP2(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts   edge.Options
		client *tls.Config
	}{
		"plain": {edge.Options{PlainHTTP2: true}, nil},
		"TLS":   {edge.Options{Certificates: certs, HSTS: time.Minute}, &tls.Config{InsecureSkipVerify: true}}, // nobody vouches for the test's certificate
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan http.Header, 1)
			pool, err := balancer.New(balancer.Backends(socketShop(t, seen).URL), balancer.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var log lines
			c.opts.Logger = log.Logger()
			srv := serve(t, pool, c.opts)
			client := &http.Client{Transport: over2{addr: srv.Addr().String(), client: c.client}}
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			dial := func(path string) (*websocket.Conn, *http.Response, error) {
				return websocket.Dial(ctx, "ws://shop.example"+path, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"chat"}})
			}
			for _, end := range []websocket.StatusCode{websocket.StatusNormalClosure, websocket.StatusGoingAway} {
				conn, res, err := dial("/live?a=b")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.CloseNow()
				conn.SetReadLimit(1 << 20)
				if h := <-seen; h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Host") != "shop.example" || h.Get("Via") == "" || h.Get("X-Request-Id") == "" {
					t.Errorf("the backend is told %v", h)
				}
				if h := res.Header; h.Get("X-Request-Id") == "" || h.Get("Strict-Transport-Security") == "" != (c.client == nil) || conn.Subprotocol() != "chat" {
					t.Errorf("the client is told %v", h)
				}
				if n, streams := level(srv, "streams_upgraded"), pool.Backends()[0].Streams; n != 1 || streams != 1 || pool.Backends()[0].InFlight != 0 {
					t.Errorf("%v streams are upgraded, %d at the backend", n, streams)
				}
				for _, size := range []int{0, 1, 125, 126, 16 << 10, 65_530} {
					want := make([]byte, size)
					_, _ = rand.Read(want) // which never fails
					if err := conn.Write(ctx, websocket.MessageBinary, want); err != nil {
						t.Fatal(err)
					}
					if kind, got, err := conn.Read(ctx); err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, want) {
						t.Fatalf("of %d bytes came %d, %v", size, len(got), err)
					}
				}
				if end == websocket.StatusNormalClosure {
					if err := conn.Close(end, ""); err != nil {
						t.Error(err)
					}
				} else if err := conn.Write(ctx, websocket.MessageText, []byte("close")); err != nil {
					t.Error(err)
				} else {
					conn.Read(ctx) // the echo
					if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != end {
						t.Errorf("closed by the backend: %v", err)
					}
				}
				conn.CloseNow()
				testkit.Within(t, testkit.Patience, "nothing is in hand", func() bool {
					return level(srv, "streams_upgraded") == 0 && level(srv, "requests_in_flight") == 0 && level(srv, "connections_open") == 0 && pool.Backends()[0].Streams == 0
				})
			}
			for path, want := range map[string]int{"/page": 502, "/no": 403, "/wrong": 502} {
				_, res, err := dial(path)
				if err == nil || res == nil || res.StatusCode != want {
					t.Errorf("%s: got %v, %v", path, res, err)
				}
			}
			testkit.Within(t, testkit.Patience, "all lines are there", func() bool { return len(requests(log.all(t))) == 5 })
			for _, line := range requests(log.all(t)) {
				target, cause := fmt.Sprint(line["target"]), fmt.Sprint(line["cause"])
				want := map[string]string{"/live?a=b": "101", "/page": "502", "/no": "403", "/wrong": "502"}[target]
				if line["method"] != "GET" || line["proto"] != "HTTP/2.0" || fmt.Sprint(line["status"]) != want || strings.Contains(cause, "websocket") != (target == "/page" || target == "/wrong") {
					t.Errorf("logged as %v", line)
				}
			}
		})
	}
}

// TestCorpusOfWebsockets: what asks for a websocket over HTTP/2 is judged by its path as
// any other request: it is no way round a rule.
func TestCorpusOfWebsockets(t *testing.T) {
	origin, apps := newRecorder(t), newRecorder(t)
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: proxyTo(t, origin.Server, nil)},
		router.Rule{Name: "posts", When: router.Method("POST", "CONNECT"), To: proxyTo(t, origin.Server, nil)},
		router.Rule{Name: "shop", To: proxyTo(t, apps.Server, nil)},
	)
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, front, edge.Options{PlainHTTP2: true})
	sent := 0
	for _, row := range readCorpus(t, "../testdata/bypass-corpus.txt", "../testdata/more-corpus.txt") {
		if len(row.headers) > 0 || row.host != "shop.example" || row.method != "GET" || row.target[0] != '/' {
			continue
		}
		sent++
		r := &http.Request{Host: row.host, URL: &url.URL{Opaque: row.target}}
		if strings.HasPrefix(row.target, "//") {
			r.URL = &url.URL{Path: row.target, RawPath: row.target}
			if r.URL.RequestURI() != row.target {
				continue // package url does not say it
			}
		}
		status := 0
		if res, err := (over2{addr: srv.Addr().String()}).RoundTrip(r); err == nil {
			status = res.StatusCode
			res.Body.Close()
		}
		atOrigin, atApps := origin.take(), apps.take()
		want := map[string][2]int{"admin": {1, 0}, "other": {0, 1}, "reject": {0, 0}}[row.expected]
		if got := [2]int{len(atOrigin), len(atApps)}; got != want || status == 101 {
			t.Errorf("line %d, %s: %q: status %d, at origin and apps %d: want %s", row.line, row.class, row.target, status, got, row.expected)
		}
		for _, r := range append(atOrigin, atApps...) {
			if r.Method != "GET" || r.Header.Get("Upgrade") != "websocket" || r.ContentLength != 0 {
				t.Errorf("line %d: a backend is asked %s, %v", row.line, r.Method, r.Header)
			}
		}
	}
	if sent < 150 {
		t.Errorf("only %d rows were sent", sent)
	}
}

// TestLimitsOfWebsockets: they end once they have been silent for as long as upgrades may.
func TestLimitsOfWebsockets(t *testing.T) {
	srv := serve(t, proxyTo(t, socketShop(t, nil), nil), edge.Options{PlainHTTP2: true, Limits: edge.Limits{UpgradeIdle: 10 * time.Millisecond}})
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://shop.example/live", &websocket.DialOptions{HTTPClient: &http.Client{Transport: over2{addr: srv.Addr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a silent websocket: %v", err)
	}
	testkit.Within(t, testkit.Patience, "it has ended", func() bool { return level(srv, "streams_upgraded") == 0 })
}

// TestAWebsocketWhoseClientTakesNothing ends with its handler all the same, whoever still
// writes to it.
func TestAWebsocketWhoseClientTakesNothing(t *testing.T) {
	wrote := make(chan error, 1)
	var log lines
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		context.AfterFunc(r.Context(), func() { c.Close() })
		accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
		rw.Flush()
		begun := make(chan bool)
		go func() {
			close(begun)
			_, err := c.Write(make([]byte, 4<<20)) // more than the client's window
			wrote <- err
		}()
		<-begun
		for range 100 {
			runtime.Gosched() // so that it mostly waits by now
		}
	}), edge.Options{PlainHTTP2: true, Logger: log.Logger()})
	r := httptest.NewRequest("GET", "http://shop.example/live", nil)
	res, err := over2{addr: srv.Addr().String()}.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	select {
	case err := <-wrote:
		if err == nil {
			t.Error("all was written")
		}
	case <-time.After(testkit.Patience):
		t.Fatal("the handler has returned, and the writing goes on")
	}
	testkit.Within(t, testkit.Patience, "its line is there", func() bool { return len(requests(log.all(t))) == 1 })
	if line := requests(log.all(t))[0]; fmt.Sprint(line["status"]) != "101" {
		t.Errorf("logged as %v", line)
	}
}

// TestWebsocketsAtTheEnd: the end of a server does not wait for them, since nobody knows
// when they end, but for what else is on their connection; then they end.
func TestWebsocketsAtTheEnd(t *testing.T) {
	front := proxyTo(t, socketShop(t, nil), nil)
	srv, err := edge.New(front, edge.Options{Addr: "127.0.0.1:0", PlainHTTP2: true, Linger: -1, Drain: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	conn, _, err := websocket.Dial(t.Context(), "ws://shop.example/live", &websocket.DialOptions{HTTPClient: &http.Client{Transport: over2{addr: srv.Addr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	cancel()
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("it goes on")
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("the end waits for a websocket")
	}
	testkit.Within(t, testkit.Patience, "nothing is left", func() bool { return level(srv, "connections_upgraded") == 0 && level(srv, "streams_upgraded") == 0 })
}
