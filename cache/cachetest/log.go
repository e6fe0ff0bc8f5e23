package cachetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/foretier/foretier/cache"
)

// A Log is what gateways share by [cache.Options.Feed], in memory, and fails as a
// test wants it to. The zero value is empty. Safe for concurrent use.
type Log struct {
	// Link is what becomes of a message from a gateway to the log or back: it takes
	// a while, or is lost, which is an error. Nil: it is there at once. It is set
	// before the log is used.
	Link func(gateway string) (time.Duration, error)

	mu       sync.Mutex
	epoch    uint64               // guarded by mu: how often the log was lost
	first    uint64               // guarded by mu: how many of the epoch's entries are gone
	entries  [][]byte             // guarded by mu: the others
	changed  chan struct{}        // guarded by mu: closed when something has; nil: nobody waits
	gateways map[string]announced // guarded by mu
	lost     time.Time            // guarded by mu: when Lose was called
}

// An announced is what a gateway has said of itself.
type announced struct {
	applied cache.Position
	at      time.Time
}

const (
	gone = 15 * time.Second // who has announced nothing for so long is
	poll = time.Second      // the longest that Follow waits for one answer
)

// Join returns the log as one gateway sees it.
func (l *Log) Join(gateway string) cache.Feed { return &feed{l, gateway} }

// Lose loses what is in the log, or its end: who follows it cannot know.
func (l *Log) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.first, l.entries = 0, nil
	l.gateways, l.lost = nil, time.Now()
	l.changeLocked()
}

// Trim keeps the last n entries.
func (l *Log) Trim(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cut := len(l.entries) - n; cut > 0 {
		l.first += uint64(cut)
		l.entries = slices.Clone(l.entries[cut:])
	}
}

func (l *Log) changeLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// positionLocked returns where the nth entry of the epoch stands.
func (l *Log) positionLocked(n uint64) cache.Position {
	return cache.Position(l.epoch+1)<<32 | cache.Position(n)
}

func (l *Log) lastLocked() cache.Position { return l.positionLocked(l.first + uint64(len(l.entries))) }

// A feed is a log as one gateway sees it.
type feed struct {
	log     *Log
	gateway string
}

// send carries a message, one way.
func (f *feed) send(ctx context.Context) error { return send(ctx, f.log.Link, f.gateway) }

// send carries a message over a link, one way.
func send(ctx context.Context, link func(string) (time.Duration, error), gateway string) error {
	if err := ctx.Err(); err != nil || link == nil {
		return err
	}
	delay, err := link(gateway)
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// call carries a request to the log, has it done, and carries the answer back.
func (f *feed) call(ctx context.Context, do func(*Log)) error {
	if err := f.send(ctx); err != nil {
		return fmt.Errorf("cachetest: %w", err)
	}
	f.log.mu.Lock()
	do(f.log)
	f.log.mu.Unlock()
	if err := f.send(ctx); err != nil {
		return fmt.Errorf("cachetest: the answer: %w", err)
	}
	return nil
}

// Append implements [cache.Feed].
func (f *feed) Append(ctx context.Context, entries ...[]byte) (last cache.Position, err error) {
	err = f.call(ctx, func(l *Log) {
		for _, data := range entries {
			l.entries = append(l.entries, slices.Clone(data))
		}
		last = l.lastLocked()
		l.changeLocked()
	})
	return last, err
}

// Announce implements [cache.Feed].
func (f *feed) Announce(ctx context.Context, applied cache.Position) (last cache.Position, err error) {
	err = f.call(ctx, func(l *Log) {
		if l.gateways == nil {
			l.gateways = make(map[string]announced)
		}
		l.gateways[f.gateway] = announced{applied, time.Now()}
		last = l.lastLocked()
	})
	return last, err
}

// Gateways implements [cache.Feed].
func (f *feed) Gateways(ctx context.Context) (map[string]cache.Position, error) {
	there := make(map[string]cache.Position)
	var unsure error
	err := f.call(ctx, func(l *Log) {
		if time.Since(l.lost) < gone {
			unsure = errUnsure
		}
		for name, a := range l.gateways {
			if time.Since(a.at) < gone {
				there[name] = a.applied
			}
		}
	})
	return there, cmp.Or(err, unsure)
}

var errUnsure = errors.New("cachetest: the log was lost, and who is there is not known yet")

// Leave implements [cache.Feed].
func (f *feed) Leave(ctx context.Context) error {
	return f.call(ctx, func(l *Log) { delete(l.gateways, f.gateway) })
}

// Follow implements [cache.Feed].
func (f *feed) Follow(ctx context.Context, after cache.Position) iter.Seq2[cache.FeedEntry, error] {
	return func(yield func(cache.FeedEntry, error) bool) {
		for {
			batch, err := f.next(ctx, after)
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
				after = e.Position
			}
			if err != nil {
				yield(cache.FeedEntry{}, err)
				return
			}
		}
	}
}

// next returns what comes after a position, or nothing if that takes long.
func (f *feed) next(ctx context.Context, after cache.Position) ([]cache.FeedEntry, error) {
	if err := f.send(ctx); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(poll)
	defer timeout.Stop()
	for {
		batch, wait, err := f.log.after(after)
		if err == nil && len(batch) == 0 {
			select {
			case <-wait:
				continue
			case <-timeout.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if lost := f.send(ctx); lost != nil {
			return nil, lost
		}
		return batch, err
	}
}

// after returns the entries after a position, or what is closed when there are some.
func (l *Log) after(p cache.Position) ([]cache.FeedEntry, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begin := l.positionLocked(l.first)
	if p == 0 {
		p = begin // all that there is
	}
	if p < begin || p > l.lastLocked() {
		return nil, nil, fmt.Errorf("cachetest: %w", cache.ErrGap)
	}
	var batch []cache.FeedEntry
	for n := uint64(p - begin); n < uint64(len(l.entries)); n++ {
		batch = append(batch, cache.FeedEntry{Position: begin + cache.Position(n) + 1, Data: l.entries[n]})
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return batch, l.changed, nil
}
