package esi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

const (
	maxFetching = 8                     // fragments of a page that are fetched side by side
	maxAhead    = 1 << 20               // bytes of a page that are held until it is their turn
	maxHeld     = 64 << 20              // likewise of all pages
	maxOfClient = maxHeld / 4           // likewise of a client's
	pieceSize   = 32 << 10              // of what is held
	pieceCost   = 256                   // of memory, beside its text
	flushAfter  = 10 * time.Millisecond // for so long a page waits before what there is goes out
)

var (
	errStopped  = errors.New("esi: the page has ended")
	errTooMany  = errors.New("esi: the page has more fragments than Options.MaxFragments")
	errTooDeep  = errors.New("esi: the fragment is deeper in others than Options.MaxDepth")
	errLoop     = errors.New("esi: the fragment is in itself")
	errTooLarge = errors.New("esi: the page's fragments are larger than Options.MaxBytes")
	errSlow     = errors.New("esi: nothing has come of the fragment for Options.Wait")
)

// A page is composed of its template and of fragments: of parts, each of which is
// produced by a goroutine of its own. Another one sends them: it reads the template,
// and where that has a fragment, first all of this. Whoever is ahead of it holds
// what he has, as long as there is room, and then waits.
//
// Nobody waits in a circle: the part that is being sent needs neither room nor a
// place among those that are fetched.
type page struct {
	handler *handler
	asked   *http.Request // the visitor's
	client  netip.Addr
	to      http.ResponseWriter
	status  int
	marked  bool          // what is missing is told by a comment
	like    *http.Request // asked, with a context for the fetches and the record of which theirs are copies
	cancel  context.CancelFunc
	front   http.Handler // whom fragments are asked of
	root    *part

	fetches  sync.WaitGroup
	sent     chan struct{} // closed when nothing is sent any more
	failure  error         // why the page has been cut off; once sent is closed
	panicked any           // likewise: with what the client's writer has

	mu       sync.Mutex
	changed  sync.Cond // on mu
	sending  *part     // guarded by mu: whose turn it is
	fetching int       // guarded by mu
	waiting  []*part   // guarded by mu: fragments without a place, in order
	count    int       // guarded by mu: fragments
	ahead    int64     // guarded by mu: bytes that are held
	included int64     // guarded by mu: bytes of all fragments
	stopped  bool      // guarded by mu
	failed   int       // guarded by mu: fragments that are not in the page
}

// start begins to send a page whose header is out. Whoever calls it must call finish
// or abort.
func (h *handler) start(w *writer) *page {
	base, rec := transit.Detach(w.asked.Context())
	rec.Orders = transit.Orders{Page: rec.Page, Front: w.front, Composes: h.processor.capability}
	base, cancel := context.WithCancel(base)
	g := &page{
		handler: h, asked: w.asked, client: transit.Network(transit.Client(w.asked)), to: w.ResponseWriter, marked: HTML(nil, 0, w.ResponseWriter.Header()),
		like: w.asked.WithContext(base), cancel: cancel, front: w.front, status: w.status, sent: make(chan struct{}),
	}
	if g.front == nil {
		g.front = h.next
	}
	g.changed.L = &g.mu
	g.root = &part{page: g, at: place{url: w.asked.URL, host: w.asked.Host}, started: true}
	g.sending = g.root
	gone := context.AfterFunc(w.asked.Context(), g.stop)
	go func() { // finish waits for it
		defer close(g.sent)
		defer gone()
		defer g.stop()
		defer func() { g.panicked = recover() }()
		g.failure = g.send(g.root)
	}()
	return g
}

// finish waits until all is sent of a page whose template is whole, and reports why it
// has been cut off.
func (g *page) finish() error {
	g.mu.Lock()
	g.root.ended = true
	g.changed.Broadcast()
	g.mu.Unlock()
	return g.wait()
}

// abort ends a page whose template is not whole.
func (g *page) abort() {
	g.stop()
	_ = g.wait() // that of the template is told
}

func (g *page) wait() error {
	<-g.sent
	g.fetches.Wait()
	g.mu.Lock()
	g.handler.processor.ahead.Give(g.client, g.ahead) // of what nobody has taken
	g.ahead = 0
	g.mu.Unlock()
	if g.panicked != nil {
		panic(g.panicked)
	}
	return g.failure
}

// stop has everybody stop.
func (g *page) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	g.waiting = nil
	g.cancel()
	g.changed.Broadcast()
}

// tell keeps why something is missing, for the log line.
func (g *page) tell(why error) {
	if g.asked.Context().Err() != nil {
		return // nobody misses anything
	}
	rec := transit.From(g.asked.Context())
	rec.Fail(why)
	rec.Answered(g.status)
}
