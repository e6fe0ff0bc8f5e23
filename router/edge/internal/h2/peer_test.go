package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// An anybody owns a connection, and keeps what was not read of it.
type anybody struct {
	mu       sync.Mutex
	unread   []string // guarded by mu
	hijacked bool     // guarded by mu
}

func (*anybody) Begun() (time.Duration, bool) { return time.Minute, true }

func (a *anybody) Hijacked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hijacked = true
}

// taken reports whether the connection has become its owner's to end.
func (a *anybody) taken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hijacked
}

func (a *anybody) Unread(status int, cause, line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread = append(a.unread, fmt.Sprintf("%d %s %s", status, cause, line))
}

func (a *anybody) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.unread...)
}

// serve serves by srv, and returns its address.
func serve(t testing.TB, srv *h2.Server, opts wire.Options, owner *anybody) string {
	prepare(srv)
	l := testkit.Listen(t)
	set := wire.NewSet(opts)
	ctx := context.WithValue(context.Background(), http.ServerContextKey, new(http.Server))
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := set.Add(nc)
			go srv.Serve(ctx, c, c, nil, owner)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		srv.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		set.Close()
	})
	return l.Addr().String()
}

func prepare(srv *h2.Server) {
	srv.Head = http1.Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}
	if srv.Streams == 0 {
		srv.Streams = 100
	}
}

// A peer is a client that says what the test says.
type peer struct {
	t      testing.TB
	c      net.Conn
	fr     *x.Framer
	enc    *hpack.Encoder
	block  bytes.Buffer
	last   uint32
	frames chan string // what the server says; closed at its end
}

// dial opens a connection and says what a client says first.
func dial(t testing.TB, addr string, settings ...x.Setting) *peer {
	c := testkit.Dial(t, addr)
	t.Cleanup(func() { c.Close() })
	return greet(t, c, settings...)
}

func greet(t testing.TB, c net.Conn, settings ...x.Setting) *peer {
	p := &peer{t: t, c: c, frames: make(chan string, 10000)}
	p.fr = x.NewFramer(c, c)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	go p.read()
	io.WriteString(c, x.ClientPreface)
	p.fr.WriteSettings(settings...)
	return p
}

// read puts what the server says into words.
func (p *peer) read() {
	defer close(p.frames)
	fr := x.NewFramer(io.Discard, p.c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *x.MetaHeadersFrame:
			what := fmt.Sprintf("HEADERS %d", f.StreamID)
			for _, h := range f.Fields {
				if h.Name != "date" {
					what += " " + h.Name + "=" + h.Value
				}
			}
			p.frames <- what + end(f.StreamEnded())
		case *x.DataFrame:
			p.frames <- fmt.Sprintf("DATA %d %s", f.StreamID, f.Data()) + end(f.StreamEnded())
		case *x.RSTStreamFrame:
			p.frames <- fmt.Sprintf("RST_STREAM %d %v", f.StreamID, f.ErrCode)
		case *x.GoAwayFrame:
			p.frames <- fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
		case *x.PingFrame:
			p.frames <- fmt.Sprintf("PING %t %s", f.IsAck(), f.Data[:])
		case *x.WindowUpdateFrame:
			p.frames <- fmt.Sprintf("WINDOW_UPDATE %d %d", f.StreamID, f.Increment)
		case *x.SettingsFrame:
			p.frames <- fmt.Sprintf("SETTINGS %t", f.IsAck())
		}
	}
}

func end(is bool) string {
	if is {
		return " END"
	}
	return ""
}

// ask begins a request, with fields such as ":path=/a" in place of the usual ones.
func (p *peer) ask(end bool, more ...string) uint32 {
	if p.last += 2; p.last == 2 {
		p.last = 1
	}
	p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: p.last, BlockFragment: p.fields(more...), EndStream: end, EndHeaders: true})
	return p.last
}

// fields returns the block of a request.
func (p *peer) fields(more ...string) []byte {
	p.block.Reset()
	given := map[string]bool{}
	for _, f := range more {
		name, _, _ := strings.Cut(f, "=")
		given[name] = true
	}
	for _, f := range []string{":method=GET", ":scheme=https", ":authority=shop.example", ":path=/"} {
		if name, value, _ := strings.Cut(f, "="); !given[name] {
			p.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
	}
	return p.some(more...)
}

// some appends fields to the block.
func (p *peer) some(more ...string) []byte {
	for _, f := range more {
		name, value, _ := strings.Cut(f, "=")
		p.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return bytes.Clone(p.block.Bytes())
}

// wants waits for something that the server says: that begins so. It returns it.
func (p *peer) wants(what string) string {
	p.t.Helper()
	var others []string
	for {
		select {
		case got, ok := <-p.frames:
			switch {
			case !ok:
				p.t.Fatalf("the connection has ended, without %q: %q", what, others)
			case strings.HasPrefix(got, what):
				return got
			}
			others = append(others, got[:min(len(got), 200)])
		case <-time.After(testkit.Patience):
			p.t.Fatalf("no %q: %q", what, others)
		}
	}
}

// ends waits for the connection's end, and returns the last that the server has said.
func (p *peer) ends() (last string) {
	p.t.Helper()
	for {
		select {
		case got, ok := <-p.frames:
			if !ok {
				return last
			}
			last = got
		case <-time.After(testkit.Patience):
			p.t.Fatalf("the connection does not end; the last that came is %q", last)
		}
	}
}

// alive has a request answered.
func (p *peer) alive() {
	p.t.Helper()
	p.wants(fmt.Sprintf("HEADERS %d :status=", p.ask(true)))
}

// wantsAny waits for whatever ends a stream's answer, or begins it.
func (p *peer) wantsAny() string {
	p.t.Helper()
	for {
		select {
		case got, ok := <-p.frames:
			if !ok {
				p.t.Fatal("the connection has ended")
			}
			if strings.HasPrefix(got, "HEADERS") || strings.HasPrefix(got, "RST_STREAM") {
				return got
			}
		case <-time.After(testkit.Patience):
			p.t.Fatal("nothing comes")
		}
	}
}

// part returns a block of some fields alone.
func (p *peer) part(more ...string) []byte {
	p.block.Reset()
	return p.some(more...)
}

// pipe serves a peer over a connection in memory, for a bubble.
func pipe(t testing.TB, srv *h2.Server, settings ...x.Setting) (p *peer, end func()) {
	prepare(srv)
	here, there := net.Pipe()
	set := wire.NewSet(wire.Options{})
	c := set.Add(there)
	done := make(chan bool)
	go func() {
		defer close(done)
		srv.Serve(context.Background(), c, c, nil, new(anybody))
	}()
	p = greet(t, here, settings...)
	return p, func() {
		here.Close()
		<-done
		srv.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		set.Close()
	}
}
