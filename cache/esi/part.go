package esi

import (
	"context"
	"fmt"
)

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
