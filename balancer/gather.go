package balancer

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// dialogueAfter is how long a body that may be one side of a dialogue is given to
// be whole: most are, since only what is made while it is sent has no length.
const dialogueAfter = 20 * time.Millisecond

// errEarly means that a body is longer in coming than it can be kept, and that as
// many others are as may hold places of backends meanwhile.
var errEarly = fmt.Errorf("%w: with requests whose bodies are still coming", ErrBusy)

// gather reads the request's body before a backend is picked, so that a slow
// upload holds none. What may be a dialogue, whose client waits for an answer
// before it says more, goes through as it comes, as does what there is no room
// for: if there is one of the places that such bodies may hold. A rule whose
// answers are streams has places of its own. The request's turn within its rule's
// limit is given up meanwhile.
func (x *exchange) gather() error {
	n := x.req.ContentLength
	if x.spool == nil || x.ask.Stream || n == 0 {
		return nil
	}
	if x.rec.Turn != nil {
		x.turn = x.rec.Turn
		x.turn.Pause()
	}
	var err error
	if n > 0 && !dialogue(x.out) {
		err = x.spool.gather(n, new(atomic.Bool))
	} else {
		err = x.listen(n)
	}
	switch {
	case err == errNoRoom && !x.early():
		return errEarly
	case err != nil && err != errNoRoom:
		return err
	case x.turn != nil && !x.turn.Resume(false): // if it has not been
		return errTurn
	}
	return nil
}

// dialogue reports whether a request with this header may go on after its answer
// has begun, whatever its length is.
func dialogue(h http.Header) bool { return speaks(mediaType(h)) }

// listen gathers what may be a dialogue, for a moment, and to the end if the
// request may not hold a place before.
func (x *exchange) listen(n int64) error {
	if n < 0 {
		n = -1
	}
	ctx, stop, done := x.req.Context(), new(atomic.Bool), make(chan error, 1)
	read := func() { done <- x.spool.gather(n, stop) }
	if x.uploads != nil {
		x.uploads.Go(read)
	} else {
		go read() // until the caller closes the body
	}
	timer := time.NewTimer(dialogueAfter)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			stop.Store(true)
			return context.Cause(ctx)
		case <-timer.C:
			if x.early() {
				stop.Store(true) // what the read that is going on brings is kept
				return nil
			}
		}
	}
}

// early asks for what a request may hold whose body has not come yet: a place at
// a backend and, if its rule counts, one of the rule's. Both are given back, or are
// as any other's, when the body has come.
func (x *exchange) early() bool {
	give, ok := x.earlyPlace()
	if !ok {
		return false
	}
	turn := x.turn
	if turn != nil && !turn.Resume(true) {
		give()
		return false
	}
	x.spool.onEnd(func() {
		give()
		if turn != nil {
			turn.Whole()
		}
	})
	return true
}

// earlyPlace takes one of the places at backends that requests may hold whose
// bodies have not come yet: a quarter of all, of which half are any one client's.
// Without a limit of what the backends have in hand, all may.
func (x *exchange) earlyPlace() (give func(), ok bool) {
	p := x.pool
	nothing := func() {}
	if p.opts.Limits.InFlight == 0 {
		return nothing, true
	}
	places := int64(len(p.view.Current(time.Now()).Use)) * int64(p.opts.Limits.InFlight)
	switch places {
	case 0:
		return nothing, true // nobody serves, which is better said at once
	case 1:
		return nil, false // the only place
	}
	client, most := x.spool.client, max(places/4, 1)
	if !p.coming.Take(client, 1, most, max(most/2, 1)) {
		return nil, false
	}
	return func() { p.coming.Give(client, 1) }, true
}

// A chunkless transport may say that no body goes its way without a length.
type chunkless interface{ NoChunks() bool }

// measured returns the exchange's request, or one with a length: a body of unknown
// length is read to its end for a backend that takes no chunks.
func (t *try) measured(rt chunkless) (*http.Request, error) {
	x := t.exchange
	if x.req.ContentLength >= 0 || !rt.NoChunks() {
		return x.req, nil
	}
	if !x.spool.replayable() {
		return nil, errLength // a part of it is gone
	}
	switch err := x.spool.gather(-1, new(atomic.Bool)); err {
	case nil:
	case errNoRoom:
		return nil, errLength
	default:
		return nil, err
	}
	r := *x.req
	r.ContentLength = x.spool.size()
	return &r, nil
}
