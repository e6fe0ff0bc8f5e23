package h2_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// switching is what a server answers to r, which asks for a websocket (RFC 6455, section
// 4.2.2).
func switching(r *http.Request, more ...string) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n" + strings.Join(append(more, ""), "\r\n") + "\r\n"
}

// takeOver answers r so, and has f use what it becomes, within the handler.
func takeOver(f func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		rw.WriteString(switching(r))
		rw.Flush()
		f(c)
	}
}

// echo sends back what comes, and ends when that does.
func echo(c net.Conn) {
	io.Copy(c, c)
	c.(interface{ CloseWrite() error }).CloseWrite()
}

// connect asks for a websocket.
func (p *peer) connect(more ...string) uint32 {
	return p.ask(false, append([]string{":method=CONNECT", ":protocol=websocket"}, more...)...)
}

// hears collects DATA of a stream until there are n bytes, or the stream ends.
func (p *peer) hears(stream uint32, n int) (got string, ended bool) {
	p.t.Helper()
	start := fmt.Sprintf("DATA %d ", stream)
	for len(got) < n && !ended {
		data := strings.TrimPrefix(p.wants(start), start)
		if data, ended = strings.CutSuffix(data, " END"); data == "END" {
			data, ended = "", true
		}
		got += data
	}
	return got, ended
}

// TestTunnels: what an extended CONNECT asks for reaches the handler as the GET that it
// would be over HTTP/1.1, and what that answers there is the answer here.
func TestTunnels(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		ask     func(p *peer)
		want    []string // in this order, others between them
	}{
		"as it is asked over HTTP/1.1": {func(w http.ResponseWriter, r *http.Request) {
			key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
			h := r.Header
			if r.Method != "GET" || r.RequestURI != "/" || r.Host != "shop.example" || h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" ||
				len(h["Sec-Websocket-Key"]) != 1 || len(key) != 16 || err != nil || r.Body != http.NoBody || r.ContentLength != 0 {
				t.Errorf("asked is %v", r)
			}
			w.WriteHeader(403)
		}, func(p *peer) { p.connect("sec-websocket-key=the client's own") }, []string{"HEADERS 1 :status=403 content-length=0 END", "RST_STREAM 1 NO_ERROR"}},
		"opened": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5") // of an answer that it does not give
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			rw.WriteString(switching(r, "Set-Cookie: a=b", "sec-websocket-protocol: chat", "Keep-Alive: x", "Content-Length: 0") + "hello")
			rw.Flush()
			if _, err := w.Write([]byte("x")); err != http.ErrHijacked {
				t.Errorf("an answer beside the tunnel: %v", err)
			}
			if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
				t.Errorf("taken over twice: %v", err)
			}
			w.WriteHeader(200)
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=200 set-cookie=a=b sec-websocket-protocol=chat", "DATA 1 hello", "DATA 1  END", "RST_STREAM 1 NO_ERROR"}},
		"the head in pieces": {func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			for _, b := range []byte(switching(r) + "ab") {
				if n, err := c.Write([]byte{b}); n != 1 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=200", "DATA 1 a", "DATA 1 b", "DATA 1  END"}},
		"the key is not answered": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"); err == nil {
				t.Error("written")
			}
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=502 END", "RST_STREAM 1 NO_ERROR"}},
		"another protocol is answered": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			io.WriteString(c, strings.Replace(switching(r), "websocket", "h2c", 1))
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=502 END"}},
		"no 101": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			io.WriteString(c, strings.Replace(switching(r), "101", "200", 1))
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=502 END"}},
		"nothing is answered": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}, func(p *peer) { p.connect() }, []string{"RST_STREAM 1 CANCEL"}},
		"a head without end": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+strings.Repeat("a: b\r\n", 1000))
			}
		}, func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=502 END"}},
		"broken off": {takeOver(func(net.Conn) { panic(http.ErrAbortHandler) }), func(p *peer) { p.connect() }, []string{"HEADERS 1 :status=200", "DATA 1  END"}},
		"another protocol": {func(http.ResponseWriter, *http.Request) { t.Error("served") },
			func(p *peer) { p.ask(false, ":method=CONNECT", ":protocol=connect-udp") }, []string{"HEADERS 1 :status=501", "RST_STREAM 1 NO_ERROR"}},
		"a body beside it": {func(http.ResponseWriter, *http.Request) { t.Error("served") },
			func(p *peer) { p.connect("content-length=5") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"another method": {func(http.ResponseWriter, *http.Request) { t.Error("served") },
			func(p *peer) { p.ask(false, ":protocol=websocket") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"an Upgrade of one's own": {func(http.ResponseWriter, *http.Request) { t.Error("served") },
			func(p *peer) { p.connect("upgrade=websocket") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"CONNECT alone": {func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("taken over: %v", err)
			}
			w.WriteHeader(405)
		}, func(p *peer) {
			p.block.Reset()
			p.last = 1
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: p.some(":method=CONNECT", ":authority=shop.example:443"), EndHeaders: true})
		}, []string{"HEADERS 1 :status=405"}},
		"what was sent with the question": {takeOver(echo), func(p *peer) {
			p.fr.WriteData(p.connect(), true, []byte("early"))
		}, []string{"HEADERS 1 :status=200", "DATA 1 early", "DATA 1  END"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := &h2.Server{Handler: c.handler}
			p := dial(t, serve(t, srv, wire.Options{}, new(anybody)))
			c.ask(p)
			for _, want := range c.want {
				got := p.wants(strings.TrimSuffix(want, "END"))
				if strings.HasSuffix(want, " END") && got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			p.fr.WritePing(false, [8]byte{'g', 'o', 'e', 's', ' ', 'o', 'n', '!'})
			p.wants("PING true goes on!")
			testkit.Within(t, testkit.Patience, "no tunnel is left", func() bool { return srv.Tunnels() == 0 })
		})
	}
}

// TestWebsocketsAreOffered, or no client would ask for one (RFC 8441, section 3).
func TestWebsocketsAreOffered(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	set := wire.NewSet(wire.Options{})
	defer set.Close()
	srv := &h2.Server{Handler: http.NotFoundHandler()}
	prepare(srv)
	c := set.Add(there)
	go srv.Serve(context.Background(), c, c, nil, new(anybody))
	go func() { io.WriteString(here, x.ClientPreface); x.NewFramer(here, nil).WriteSettings() }()
	f, err := x.NewFramer(nil, here).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.(*x.SettingsFrame).Value(x.SettingEnableConnectProtocol); v != 1 {
		t.Errorf("%v", f)
	}
}

// TestATunnelCarriesWhatComes, byte for byte, more than all windows at once in both
// directions, on many streams beside each other; and each direction ends by itself.
func TestATunnelCarriesWhatComes(t *testing.T) {
	srv := &h2.Server{Handler: takeOver(echo)}
	p := dial(t, serve(t, srv, wire.Options{}, new(anybody)), x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 24})
	p.fr.WriteWindowUpdate(0, 1<<26)
	const streams, size = 4, 100 << 10 // all of which the windows let through
	sent := map[uint32][]byte{}
	for range streams {
		id := p.connect()
		p.wants(fmt.Sprintf("HEADERS %d :status=200", id))
		var b bytes.Buffer
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "%d.%d,", id, i)
		}
		sent[id] = b.Bytes()
		for rest := b.Bytes(); len(rest) > 0; {
			n := min(len(rest), 10_007)
			p.fr.WriteData(id, false, rest[:n])
			rest = rest[n:]
		}
		got, ended := p.hears(id, len(sent[id]))
		if got != string(sent[id]) || ended {
			t.Fatalf("stream %d: %d bytes of %d came back, ended: %t", id, len(got), len(sent[id]), ended)
		}
	}
	if n := srv.Tunnels(); n != streams {
		t.Errorf("%d tunnels are open", n)
	}
	for id := range sent {
		p.fr.WriteData(id, true, []byte("last"))
		if got, ended := p.hears(id, 1<<20); got != "last" || !ended {
			t.Errorf("stream %d ends with %q, %t", id, got, ended)
		}
	}
	testkit.Within(t, testkit.Patience, "no tunnel is left", func() bool { return srv.Tunnels() == 0 })
	p.fr.WritePing(false, [8]byte{})
	p.wants("PING true")
}

// TestTheEndsOfATunnel: what ends it ends what reads it, and the request's context; and who
// has ended one direction reads the other.
func TestTheEndsOfATunnel(t *testing.T) {
	type end struct {
		read  string
		err   error
		cause error
	}
	for name, c := range map[string]struct {
		server func(net.Conn) // does this before it reads
		client func(p *peer)
		wants  string
		gone   bool // the client has broken it off
	}{
		"the client ends its direction": {nil, func(p *peer) { p.fr.WriteData(1, true, []byte("bye")) }, "DATA 1  END", false},
		"the client resets it": {nil, func(p *peer) {
			p.fr.WriteData(1, false, []byte("bye"))
			p.fr.WriteRSTStream(1, x.ErrCodeCancel)
			p.fr.WritePing(false, [8]byte{})
		}, "PING true", true},
		"the server ends its direction": {func(c net.Conn) { c.(interface{ CloseWrite() error }).CloseWrite() }, func(p *peer) {
			p.wants("DATA 1  END")
			p.fr.WriteData(1, false, []byte("b"))
			p.fr.WriteData(1, true, []byte("ye"))
			p.fr.WritePing(false, [8]byte{})
		}, "PING true", false},
		"the server ends its direction, the client resets the rest": {func(c net.Conn) {
			c.(interface{ CloseWrite() error }).CloseWrite()
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("written behind the end: %v", err)
			}
		}, func(p *peer) {
			p.wants("DATA 1  END")
			p.fr.WriteData(1, false, []byte("bye"))
			p.fr.WriteRSTStream(1, x.ErrCodeCancel)
			p.fr.WritePing(false, [8]byte{})
		}, "PING true", true},
	} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan end, 1)
			srv := &h2.Server{Streams: 2, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header["Upgrade"] == nil {
					return
				}
				takeOver(func(conn net.Conn) {
					if c.server != nil {
						c.server(conn)
					}
					b, err := io.ReadAll(conn)
					ends <- end{string(b), err, context.Cause(r.Context())}
				})(w, r)
			})}
			p := dial(t, serve(t, srv, wire.Options{}, new(anybody)))
			p.connect()
			p.wants("HEADERS 1 :status=200")
			c.client(p)
			p.wants(c.wants)
			got := <-ends
			if got.read != "bye" || (got.err != nil) != c.gone || (got.cause != nil) != c.gone {
				t.Errorf("got %+v", got)
			}
			testkit.Within(t, testkit.Patience, "no tunnel is left", func() bool { return srv.Tunnels() == 0 })
			for range 4 { // more than may be open: neither it nor its handler counts any more
				p.alive()
			}
		})
	}
}

// TestTunnelsOutliveTheirHandlers, as connections that were taken over do.
func TestTunnelsOutliveTheirHandlers(t *testing.T) {
	var after sync.WaitGroup
	defer after.Wait()
	srv := &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		after.Go(func() {
			defer c.Close()
			<-r.Context().Done() // the handler has returned
			io.WriteString(c, switching(r))
			echo(c)
		})
	})}
	p := dial(t, serve(t, srv, wire.Options{}, new(anybody)))
	p.connect()
	p.wants("HEADERS 1 :status=200")
	p.fr.WriteData(1, true, []byte("hello"))
	if got, ended := p.hears(1, 100); got != "hello" || !ended {
		t.Errorf("%q, %t", got, ended)
	}
}

// TestLimitsOfTunnels: they may be silent for as long as upgrades may, in both directions,
// and no longer; deadlines hold; and whoever closes one ends a write that waits for its
// client.
func TestLimitsOfTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := make(chan string, 1)
		srv := &h2.Server{BodyStall: time.Second, WriteStall: 10 * time.Hour, UpgradeIdle: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			takeOver(func(c net.Conn) {
				began := time.Now()
				var err error
				switch r.URL.Path {
				case "/silent":
					for n := 1; n > 0; { // what comes, and what goes, begins the hour anew
						if n, err = c.Read(make([]byte, 10)); n > 0 {
							time.Sleep(50 * time.Minute) // in a bubble
							c.Write([]byte("x"))
						}
					}
				case "/deadline":
					c.SetReadDeadline(began.Add(time.Minute))
					_, err = c.Read(make([]byte, 1))
					c.SetDeadline(time.Time{})
					c.SetWriteDeadline(time.Now().Add(time.Minute))
					if _, err := c.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("a write without an end: %v", err)
					}
				case "/stuck":
					_, err = c.Write(make([]byte, 1<<20))
				case "/close":
					time.AfterFunc(time.Minute, func() { c.Close() })
					_, err = c.Write(make([]byte, 1<<20))
					if errors.Is(err, net.ErrClosed) {
						_, err = c.Read(make([]byte, 1))
					}
					if errors.Is(err, net.ErrClosed) {
						err = os.ErrDeadlineExceeded // as in the other cases
					}
				}
				took <- fmt.Sprint(r.URL.Path, " ", time.Since(began), " ", errors.Is(err, os.ErrDeadlineExceeded))
			})(w, r)
		})}
		p, end := pipe(t, srv)
		defer end()
		for _, want := range []string{"/silent 2h20m0s true", "/deadline 2m0s true", "/stuck 1h0m0s true", "/close 1m0s true"} {
			path, _, _ := strings.Cut(want, " ")
			id := p.connect(":path=" + path)
			p.wants(fmt.Sprintf("HEADERS %d :status=200", id))
			if path == "/silent" {
				time.Sleep(30 * time.Minute) // in a bubble
				p.fr.WriteData(id, false, []byte("x"))
			}
			if got := <-took; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			synctest.Wait()
			p.fr.WriteWindowUpdate(0, 1<<20)
		}
	})
}

// TestTunnelsAtTheEnd: nobody waits for them, since nobody knows when they end; their
// connection becomes its owner's to end, as one that was taken over is.
func TestTunnelsAtTheEnd(t *testing.T) {
	release := make(chan bool)
	srv := &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header["Upgrade"] == nil {
			<-release
			return
		}
		takeOver(echo)(w, r)
	})}
	owner := new(anybody)
	p := dial(t, serve(t, srv, wire.Options{}, owner))
	p.connect()
	p.wants("HEADERS 1 :status=200")
	p.ask(true)
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	p.fr.WritePing(true, p.wantsPing())
	p.wants("GOAWAY 3 NO_ERROR")
	select {
	case err := <-done:
		t.Fatal("a request was not waited for", err)
	default:
	}
	if owner.taken() {
		t.Error("the owner has a connection that is in use")
	}
	close(release)
	p.wants("HEADERS 3 :status=200")
	if err := <-done; err != nil || !owner.taken() {
		t.Fatal(err, owner.taken())
	}
	p.fr.WriteData(1, false, []byte("goes on"))
	if got, _ := p.hears(1, 7); got != "goes on" {
		t.Errorf("got %q", got)
	}
	p.fr.WriteData(1, true, nil)
	p.ends() // with its last tunnel
}

// TestTunnelsCount as streams: no more are open than may be.
func TestTunnelsCount(t *testing.T) {
	p := dial(t, serve(t, &h2.Server{Streams: 3, Handler: takeOver(echo)}, wire.Options{}, new(anybody)))
	for range 3 {
		p.wants(fmt.Sprintf("HEADERS %d :status=200", p.connect()))
	}
	p.wants(fmt.Sprintf("RST_STREAM %d REFUSED_STREAM", p.connect()))
	p.fr.WriteData(1, true, nil)
	p.wants("DATA 1  END")
	p.wants(fmt.Sprintf("HEADERS %d :status=200", p.connect()))
}
