package esi

import (
	"fmt"
	"net/http"
	"time"
)

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
