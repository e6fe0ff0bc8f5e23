package cache

import (
	"context"
	"errors"
)

// A replay reads the entries of the feed that are older than where a cache begins, for
// what other gateways have stored meanwhile. A cache that does not know them yet goes on
// without.
type replay struct {
	cancel context.CancelFunc // nil: none runs
	done   chan struct{}
}

// start reads what is older than a position, unless nobody asks.
func (r *replay) start(ctx context.Context, f *follower, upTo Position) {
	if f.past == nil {
		return
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		for pause := firstPause; ctx.Err() == nil && !f.replay(ctx, upTo); pause = nextPause(ctx, pause) {
		}
	}()
}

func (r *replay) stop() {
	if r.cancel != nil {
		r.cancel()
		<-r.done
	}
}

// replay reads all that there is up to a position, and reports whether it is to be left
// at that.
func (f *follower) replay(ctx context.Context, upTo Position) bool {
	var older []placed
	var from Position
	for e, err := range f.feed.Follow(ctx, 0) {
		if err != nil {
			return errors.Is(err, ErrGap) // else asking failed
		}
		if len(older) == 0 && from == 0 {
			from = e.Position - 1
		}
		if e.Position <= upTo {
			if w, err := decode(e.Data); err != nil {
				older, from = nil, e.Position // what it was nobody knows
			} else {
				older = append(older, placed{e.Position, w.matcher()})
			}
		}
		if e.Position >= upTo {
			break
		}
	}
	if from < upTo && ctx.Err() == nil {
		if n := len(older) - maxHistory; n > 0 {
			from, older = older[n-1].at, older[n:]
		}
		f.past.before(from, older, upTo)
	}
	return true
}
