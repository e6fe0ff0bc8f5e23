package cache

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

const (
	// unleased is the largest body that is sent without a lease: a connection
	// takes as much itself, and buffers it.
	unleased = 4 << 10
	// piece is how much is written at once, so that it can be seen whether the
	// client takes anything.
	piece = 128 << 10
)

// A lease is what one client is being sent, which may be taken from it: see
// [memory.Pin].
type lease struct {
	memory.Pin
	out  http.ResponseWriter
	sink sinkWriter // out, of an answer that no handler writes

	mu   sync.Mutex
	done bool // the handler is; guarded by mu
}

var leases = sync.Pool{New: func() any { return new(lease) }}

// lend returns a lease for what w is going to be sent; it ends with end.
func lend(w http.ResponseWriter, r *http.Request) *lease {
	l := leases.Get().(*lease)
	l.out, l.done = w, false
	l.Reader, l.Client = nil, transit.Network(transit.Client(r))
	if breaks(w) {
		l.Reader = l
	}
	return l
}

// lendTo returns a lease for what a client is going to be sent without a handler.
func lendTo(sink transit.Sink, client netip.Addr) *lease {
	l := leases.Get().(*lease)
	l.sink.Sink, l.done = sink, false
	l.out = &l.sink
	l.Reader, l.Client = l, transit.Network(client)
	return l
}

// A sinkWriter is a sink as a ResponseWriter whose header is out.
type sinkWriter struct{ transit.Sink }

// Header implements [http.ResponseWriter].
func (*sinkWriter) Header() http.Header { return nil }

// WriteHeader implements [http.ResponseWriter].
func (*sinkWriter) WriteHeader(int) {}

// What [http.ResponseController] looks for in a writer.
type (
	breakable interface{ SetWriteDeadline(time.Time) error }
	around    interface{ Unwrap() http.ResponseWriter }
)

// breaks reports whether what is written to w can be broken off.
func breaks(w http.ResponseWriter) bool {
	for w != nil {
		switch x := w.(type) {
		case breakable:
			return true
		case around:
			w = x.Unwrap()
		default:
			return false
		}
	}
	return false
}

// end says that nothing more is sent, and that nothing is held.
func (l *lease) end() {
	l.mu.Lock()
	l.done, l.out, l.sink.Sink = true, nil, nil
	l.mu.Unlock()
	if !l.Given() { // else the store may still be about to tell it
		leases.Put(l)
	}
}

// GiveUp implements [memory.Reader]: it breaks off what is being written.
func (l *lease) GiveUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done || http.NewResponseController(l.out).SetWriteDeadline(past) == nil
}

var past = time.Unix(1, 0)

// Header implements [http.ResponseWriter].
func (l *lease) Header() http.Header { return l.out.Header() }

// WriteHeader implements [http.ResponseWriter].
func (l *lease) WriteHeader(status int) { l.out.WriteHeader(status) }

// Write implements [http.ResponseWriter].
func (l *lease) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		m, err := l.out.Write(p[:min(len(p), piece)])
		n += m
		if err != nil {
			return n, err
		}
		if p = p[m:]; len(p) > 0 {
			l.Moved(time.Now().UnixNano())
		}
	}
	return n, nil
}
