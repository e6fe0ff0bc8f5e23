package esi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

var (
	errStatus = errors.New("esi: the fragment's status is not 2xx")
	errCoded  = errors.New("esi: the fragment has a content coding that nobody has asked for")
	errShort  = errors.New("esi: the fragment has broken off")
)

// fetch fetches p, or what stands in its place.
func (g *page) fetch(p *part) error {
	var first error
	for i, reference := range [...]string{p.in.src, p.in.alt} {
		if reference == "" {
			break
		}
		if i > 0 {
			g.mu.Lock()
			p.spare = false
			g.mu.Unlock()
		}
		err := g.try(p, reference)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		g.mu.Lock()
		over := p.taken || p.err != nil || g.stopped
		if !over {
			g.dropLocked(p) // of what has failed before anybody has seen it
			g.changed.Broadcast()
		}
		g.mu.Unlock()
		if over {
			break
		}
	}
	return first
}

// try fetches what a reference in p stands for.
func (g *page) try(p *part, reference string) error {
	ctx, cancel := context.WithCancel(g.like.Context())
	defer cancel()
	at, err := g.locate(p, reference, cancel)
	if err != nil {
		return err
	}
	f := &fragment{part: p, header: make(http.Header), length: -1}
	f.parser.to = p
	var rec *transit.Record
	f.request, rec = transit.Aside(at.request(g.like, g.handler.processor.capability).WithContext(ctx))
	err = g.ask(f)
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.slow {
		p.slow = false
		return fmt.Errorf("%w: %s", errSlow, at)
	}
	if err == nil {
		return nil
	}
	if cause := rec.Cause(); cause != nil {
		return fmt.Errorf("%w: %s: %w", err, at, cause)
	}
	return fmt.Errorf("%w: %s", err, at)
}

// locate returns what p is to be fetched from, if it is one that may be. By cancel the
// fetch is given up.
func (g *page) locate(p *part, reference string, cancel context.CancelFunc) (place, error) {
	opts := &g.handler.processor.opts
	g.mu.Lock()
	defer g.mu.Unlock()
	at, err := p.above.at.refer(reference, g.asked.Host, opts.Hosts)
	switch {
	case err != nil:
		return at, err
	case p.err != nil || g.stopped:
		return at, errStopped
	case p.depth > opts.MaxDepth:
		return at, fmt.Errorf("%w: %s", errTooDeep, at)
	}
	for above := p.above; above != nil; above = above.above {
		if above.at.same(at) {
			return at, fmt.Errorf("%w: %s", errLoop, at)
		}
	}
	p.at, p.cancel = at, cancel
	return at, nil
}

// ask asks for a fragment, and returns why there is none.
func (g *page) ask(f *fragment) (err error) {
	defer func() {
		v := recover()
		switch {
		case v == nil:
		case f.err != nil: // of which the panic is the consequence
			err = f.err
		case v == http.ErrAbortHandler:
			err = errShort
		default:
			err = fmt.Errorf("esi: panic: %v", v)
			g.handler.processor.opts.Logger.Error("esi: a fragment panicked", "target", f.request.RequestURI, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	g.front.ServeHTTP(f, f.request)
	return f.end()
}

// A fragment takes the answer of one, as an [http.ResponseWriter].
type fragment struct {
	part     *part
	request  *http.Request
	header   http.Header
	status   int // 0: before the header
	composes bool
	parser   parser
	length   int64 // of the body as announced; -1: not
	written  int64
	err      error // why it cannot be included
}

// Header implements [http.ResponseWriter].
func (f *fragment) Header() http.Header { return f.header }

// WriteHeader implements [http.ResponseWriter].
func (f *fragment) WriteHeader(status int) {
	if f.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	f.status = status
	f.length = fields.Length(f.header)
	switch {
	case status < 200 || status > 299 || status == http.StatusPartialContent:
		f.err = fmt.Errorf("%w: %d", errStatus, status)
	case coded(f.header):
		f.err = errCoded
	default:
		f.composes = f.part.page.handler.processor.asks(f.request, status, f.header)
	}
}

// Write implements [http.ResponseWriter]. After an error nothing more is wanted.
func (f *fragment) Write(b []byte) (int, error) {
	if f.status == 0 {
		f.WriteHeader(http.StatusOK)
	}
	if f.err != nil {
		return 0, f.err
	}
	f.written += int64(len(b))
	if f.composes {
		f.err = f.parser.feed(b)
	} else {
		f.err = f.part.text(b)
	}
	if f.err != nil {
		return 0, f.err
	}
	return len(b), nil
}

// Flush implements [http.Flusher]. What is there goes out when it is its turn.
func (f *fragment) Flush() {
	if f.status == 0 {
		f.WriteHeader(http.StatusOK)
	}
}

// end says that the handler has returned.
func (f *fragment) end() error {
	f.Flush()
	switch {
	case f.err != nil:
	case f.composes:
		f.err = f.parser.end()
	}
	if f.err == nil && f.length >= 0 && f.written != f.length && f.status != http.StatusNoContent {
		f.err = errShort
	}
	return f.err
}
