package h2_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/balancer/internal/h2"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A peer is a backend that says what it is told to, by x/net's frames.
type peer struct {
	t  testing.TB
	nc net.Conn
	*x.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	mu   sync.Mutex // guards the writing side
	done chan struct{}
}

// script returns a transport to a backend that does what script says on each connection,
// over memory. The connection ends with it.
func script(t testing.TB, script func(p *peer), settings ...x.Setting) *h2.Transport {
	return h2.New("http", func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		p := newPeer(t, theirs)
		go func() {
			defer close(p.done)
			defer theirs.Close()
			if p.greet(settings...) {
				script(p)
			}
		}()
		return ours, nil
	})
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	p := &peer{t: t, nc: nc, Framer: x.NewFramer(nc, nc), done: make(chan struct{})}
	p.enc = hpack.NewEncoder(&p.buf)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return p
}

// greet hears the preface and sends SETTINGS. A pipe holds nothing: who writes waits for its
// reader, so all that is written is written while it is read.
func (p *peer) greet(settings ...x.Setting) bool {
	preface := make([]byte, len(x.ClientPreface))
	if _, err := io.ReadFull(p.nc, preface); err != nil {
		return false
	}
	return p.WriteSettings(settings...) == nil
}

// next returns the next frame that is not of the connection, nil at its end.
func (p *peer) next() x.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *x.SettingsFrame:
			if !f.IsAck() && p.WriteSettingsAck() != nil {
				return nil
			}
		case *x.WindowUpdateFrame, *x.PingFrame:
		default:
			return f
		}
	}
}

// request returns the stream of the next request whose head has come, 0 at the end.
func (p *peer) request() uint32 {
	for {
		switch f := p.next().(type) {
		case nil:
			return 0
		case *x.MetaHeadersFrame:
			return f.StreamID
		}
	}
}

// hear reads on until the end.
func (p *peer) hear() {
	for p.next() != nil {
	}
}

// block returns fields as a block: names and values in turn.
func (p *peer) block(fields ...string) []byte {
	p.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			p.t.Error(err)
		}
	}
	return bytes.Clone(p.buf.Bytes())
}

// headers sends fields.
func (p *peer) headers(stream uint32, end bool, fields ...string) error {
	return p.WriteHeaders(x.HeadersFrameParam{StreamID: stream, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end})
}

// call returns a call for path, of no body.
func call(method, path string) *http1.Call {
	return &http1.Call{Request: &http.Request{Method: method, Host: "shop.example", URL: &url.URL{Path: path}}, Header: http.Header{"X-A": {"1"}}}
}

// fetch sends c, and returns what came of it.
func fetch(ctx context.Context, t *h2.Transport, c *http1.Call) (status int, body string, trailer http.Header, err error) {
	r, err := t.Exchange(ctx, c)
	if err != nil {
		return 0, "", nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return r.Status, string(b), r.Trailer, err
}

// rawScript returns a transport to a backend that says just that, whatever it is asked, and
// hangs up.
func rawScript(says string) *h2.Transport {
	return h2.New("http", func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() {
			defer theirs.Close()
			_, _ = io.WriteString(theirs, says)
		}()
		return ours, nil
	})
}
