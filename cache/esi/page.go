package esi

import (
	"context"
	"errors"
	"fmt"
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
	marked  bool            // what is missing is told by a comment
	base    context.Context // of the fetches; has the record of which theirs are copies
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

// A part is the template or a fragment, as pieces in order.
type part struct {
	page  *page
	above *part // what it is in; nil: it is the template
	depth int
	in    include
	at    place // what it is of; before pieces of it are there

	// All guarded by page.mu.
	pieces  []piece
	started bool
	spare   bool // there is an alt that has not been asked for
	slow    bool // what is asked for has been given up, since it is slow
	ended   bool
	taken   bool               // some of it has been sent: it cannot be replaced
	err     error              // why it is not whole
	cancel  context.CancelFunc // of its fetch, if there is one
}

// A piece is some text, or a fragment.
type piece struct {
	text     []byte
	fragment *part
	held     int64 // what it takes of the room
}

// start begins to send a page whose header is out. Whoever calls it must call finish
// or stop.
func (h *handler) start(w *writer) *page {
	base, rec := transit.Detach(w.asked.Context())
	rec.Orders = transit.Orders{Page: rec.Page, Front: w.front, Composes: h.processor.capability}
	base, cancel := context.WithCancel(base)
	g := &page{
		handler: h, asked: w.asked, client: transit.Network(transit.Client(w.asked)), to: w.ResponseWriter, marked: HTML(nil, 0, w.ResponseWriter.Header()),
		base: base, cancel: cancel, front: w.front, status: w.status, sent: make(chan struct{}),
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

// text implements [sink].
func (p *part) text(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		if err := p.page.push(p, piece{text: b[:n]}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// include implements [sink].
func (p *part) include(in include) error {
	return p.page.push(p, piece{fragment: &part{page: p.page, above: p, depth: p.depth + 1, in: in, spare: in.alt != ""}})
}

// malformed implements [sink].
func (p *part) malformed(what string) { p.page.tell(fmt.Errorf("esi: %s: %s", p.at, what)) }

// push adds a piece to p, once there is room or it is its turn.
func (g *page) push(p *part, piece piece) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	cost := int64(len(piece.text)) + pieceCost
	for {
		switch {
		case p.err != nil:
			return p.err
		case g.stopped:
			return errStopped
		case p.above != nil && g.included+int64(len(piece.text)) > g.handler.processor.opts.MaxBytes:
			return errTooLarge
		case g.ahead+cost <= maxAhead && g.handler.processor.ahead.Take(g.client, cost, maxHeld, maxOfClient):
			piece.held = cost
			g.ahead += cost
		case g.sending != p || len(p.pieces) > 0:
			g.changed.Wait()
			continue
		}
		break
	}
	if p.above != nil {
		g.included += int64(len(piece.text))
	}
	if piece.fragment != nil {
		g.addLocked(piece.fragment)
	} else {
		piece.text = append([]byte(nil), piece.text...)
	}
	p.pieces = append(p.pieces, piece)
	g.changed.Broadcast()
	return nil
}

// addLocked takes a fragment up, and begins to fetch it if there is a place.
func (g *page) addLocked(p *part) {
	g.handler.processor.figures.fragments.Add(1)
	if g.count++; g.count > g.handler.processor.opts.MaxFragments {
		p.started, p.ended, p.err = true, true, errTooMany
		return
	}
	if g.fetching >= maxFetching {
		g.waiting = append(g.waiting, p)
		return
	}
	g.startLocked(p)
}

// startLocked begins to fetch a fragment.
func (g *page) startLocked(p *part) {
	p.started = true
	g.fetching++
	g.fetches.Add(1)
	go func() {
		defer g.fetches.Done()
		err := g.fetch(p)
		g.mu.Lock()
		defer g.mu.Unlock()
		if p.ended = true; p.err == nil {
			p.err = err
		}
		g.fetching--
		for g.fetching < maxFetching && len(g.waiting) > 0 {
			next := g.waiting[0]
			g.waiting = g.waiting[1:]
			if !next.started && next.err == nil {
				g.startLocked(next)
			}
		}
		g.changed.Broadcast()
	}()
}

// giveUpLocked ends p, for this reason unless there is one, and all that is in it.
func (g *page) giveUpLocked(p *part, why error) {
	if p.err == nil {
		p.err = why
	}
	p.started, p.ended = true, true
	if p.cancel != nil {
		p.cancel()
	}
	g.dropLocked(p)
}

// dropLocked drops what is held of p.
func (g *page) dropLocked(p *part) {
	for _, piece := range p.pieces {
		g.releaseLocked(piece)
		if piece.fragment != nil {
			g.giveUpLocked(piece.fragment, errStopped)
		}
	}
	p.pieces = nil
}

func (g *page) releaseLocked(piece piece) {
	if piece.held > 0 {
		g.ahead -= piece.held
		g.handler.processor.ahead.Give(g.client, piece.held)
	}
}

// send sends p, as it comes. An error is why the page cannot go on; that p itself is
// not whole is in p.err.
func (g *page) send(p *part) error {
	for {
		piece, ok := g.next(p)
		if !ok {
			return nil
		}
		if piece.fragment == nil {
			if _, err := g.to.Write(piece.text); err != nil {
				return nil // the client has gone, which others tell
			}
			continue
		}
		if err := g.sendFragment(piece.fragment); err != nil {
			return err
		}
	}
}

// sendFragment sends a fragment, or what stands in its place.
func (g *page) sendFragment(p *part) error {
	g.mu.Lock()
	if !p.started { // it is its turn, so it needs no place
		g.startLocked(p)
	}
	g.mu.Unlock()
	if err := g.send(p); err != nil {
		return err
	}
	g.mu.Lock()
	why, taken, stopped := p.err, p.taken, g.stopped
	if why != nil && !stopped {
		g.giveUpLocked(p, why)
		g.failed++
	}
	g.mu.Unlock()
	if why == nil || stopped {
		return nil
	}
	g.handler.processor.figures.failed.Add(1)
	g.tell(why)
	if taken {
		return fmt.Errorf("esi: the page is cut off in a fragment: %w", why)
	}
	if g.marked && !p.in.optional {
		_, _ = g.to.Write([]byte(missing)) // a client that has gone is noticed with the next piece
	}
	return nil
}

// missing stands in a page for a fragment that has failed.
const missing = "<!-- esi: not included -->"

// next returns the next piece of p, once it is there, and reports whether there is one.
func (g *page) next(p *part) (piece, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sending != p {
		g.sending = p
		g.changed.Broadcast()
	}
	there := func() bool { return g.stopped || len(p.pieces) > 0 || p.ended }
	if !there() && !g.waitLocked(flushAfter, there) {
		g.mu.Unlock()
		_ = http.NewResponseController(g.to).Flush() // one that cannot sends when it can
		g.mu.Lock()
		var limit time.Duration
		if p.above != nil {
			limit = g.handler.processor.opts.Wait
		}
		for !g.waitLocked(limit, there) {
			if p.taken || !p.spare || p.cancel == nil {
				g.giveUpLocked(p, fmt.Errorf("%w: %s", errSlow, p.at))
				break
			}
			p.spare, p.slow = false, true
			p.cancel()
		}
	}
	if g.stopped || len(p.pieces) == 0 {
		return piece{}, false
	}
	first := p.pieces[0]
	p.pieces[0] = piece{}
	p.pieces = p.pieces[1:]
	if p.taken = true; len(p.pieces) == 0 {
		p.pieces = nil
	}
	g.releaseLocked(first)
	g.changed.Broadcast()
	return first, true
}

// waitLocked waits until there is what is waited for, at most for limit unless that is
// 0, and reports whether there is.
func (g *page) waitLocked(limit time.Duration, there func() bool) bool {
	late := false
	if limit > 0 {
		t := time.AfterFunc(limit, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			late = true
			g.changed.Broadcast()
		})
		defer t.Stop()
	}
	for !there() && !late {
		g.changed.Wait()
	}
	return there()
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
