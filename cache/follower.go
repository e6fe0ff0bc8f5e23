package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	beat       = time.Second            // between two announcements
	shareWait  = time.Second            // for how long an invalidation waits for the feed
	firstPause = 50 * time.Millisecond  // after a call that failed; doubled up to
	lastPause  = time.Second            //
	farewell   = 250 * time.Millisecond // for what is left to say at the end
)

// A follower is what a cache has in common with those of other gateways: it applies
// what they have invalidated, and tells them what has been here.
type follower struct {
	feed   Feed
	self   string // by which its own entries are known when they come back
	logger *slog.Logger
	apply  func(matcher)
	gap    func()        // says that what is being fetched has been overtaken, by whatever it was
	past   *history      // for what other gateways have stored; nil: nothing is asked for
	count  func() uint64 // fetches made
	outbox *outbox
	doubt  *doubt
	budget budget
	kick   chan struct{} // has a token when the position is to be announced at once

	received, gaps atomic.Uint64

	mu      sync.Mutex
	from    Position      // guarded by mu: from where to begin, if that is known; see goOn
	running bool          // guarded by mu: it is too late for that
	started bool          // guarded by mu: applied means something
	applied Position      // guarded by mu
	moved   chan struct{} // guarded by mu; closed when applied has changed
	asked   time.Duration // guarded by mu: when upTo was the last position; see heard
	upTo    Position      // guarded by mu; zero: nothing is waited for
	failure error         // guarded by mu: why the last announcement failed, or nil
	told    bool          // guarded by mu: the log has been told that the cache is cut off
}

func newFollower(c *Cache) *follower {
	return &follower{
		feed: c.opts.Feed, self: rand.Text(), logger: c.opts.Logger,
		apply: c.applyOther, gap: func() { c.log.append(matcher{all: true}) },
		count:  c.figures.fetches.Load,
		outbox: newOutbox(), doubt: newDoubt(), kick: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// run follows the feed until ctx ends, and says good-bye.
func (f *follower) run(ctx context.Context) {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { f.follow(ctx) })
	wg.Go(func() { f.announce(ctx) })
	wg.Go(func() { f.send(ctx) })
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if batch := f.outbox.take(); len(batch) > 0 {
		if err := f.append(ctx, batch); err != nil {
			f.logger.Error("cache: other gateways have not been told of all that was invalidated here", "cause", err)
		}
	}
	_ = f.feed.Leave(ctx) // else they find out
}

// follow applies what comes.
func (f *follower) follow(ctx context.Context) {
	var from Position
	known := false // what comes after from is all there is
	var older replay
	defer older.stop()
	for pause := firstPause; ctx.Err() == nil; pause = nextPause(ctx, pause) {
		if !known {
			last, err := f.feed.Announce(ctx, 0)
			if err != nil {
				f.failed(err)
				continue
			}
			if from, known = f.resume(last), true; from == 0 {
				f.begin(last, time.Now())
				from = last
			}
			older.stop()
			older.start(ctx, f, from)
		}
		for e, err := range f.feed.Follow(ctx, from) {
			if err != nil {
				f.failed(err)
				known = !errors.Is(err, ErrGap)
				break
			}
			if known = f.receive(e); !known {
				break
			}
			from, pause = e.Position, firstPause
		}
	}
}

func nextPause(ctx context.Context, pause time.Duration) time.Duration {
	rest(ctx, pause)
	return min(2*pause, lastPause)
}

// rest waits for a while.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// goOn says that up to a position all has been applied to what a snapshot had, and
// reports whether what comes after that will be: not if it is too late to begin there.
// Whether the feed still has it shows later, and is a gap if not.
func (f *follower) goOn(after Position) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running || after == 0 {
		return false
	}
	if f.from == 0 || after < f.from {
		f.from = after
	}
	return true
}

// upToHere returns up to where all has been applied to what is stored, or 0 if that is
// not known.
func (f *follower) upToHere() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		return f.from
	}
	return f.applied
}

// resume begins to follow where goOn has said, and returns that; or 0, if nothing has
// been said, or the feed, which ends at last, is another by now.
func (f *follower) resume(last Position) Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started || f.from == 0 || f.from > last {
		return 0
	}
	if f.past != nil {
		f.past.begin(f.from)
	}
	f.started = true
	f.reachLocked(f.from)
	f.announceNow()
	return f.from
}

// begin begins, or begins again after a gap, to follow behind a position that was the
// last one before now: what was asked for before is in doubt.
func (f *follower) begin(last Position, now time.Time) {
	if f.past != nil {
		f.past.begin(last) // before the gap is noted: see second.take
	}
	f.doubt.gap.Store(int64(f.doubt.since(now)))
	f.gap()
	f.mu.Lock()
	again := f.started
	f.started = true
	f.reachLocked(last)
	f.mu.Unlock()
	f.announceNow()
	if again {
		f.gaps.Add(1)
		f.logger.Warn("cache: invalidations by other gateways may have been missed; what is stored is refreshed")
	}
}

// receive applies an entry, unless that is where it came from, and reports whether it
// was understood.
func (f *follower) receive(e FeedEntry) bool {
	w, err := decode(e.Data)
	if err != nil {
		f.logger.Error("cache: what was invalidated is not known", "cause", err)
		return false
	}
	m, ours := w.matcher(), w.From == f.self
	if f.past != nil { // before it is applied: see second.take
		f.past.add(e.Position, m, w.own(f.self))
	}
	if !ours {
		f.apply(m)
		f.received.Add(1)
	}
	f.mu.Lock()
	f.reachLocked(e.Position)
	f.mu.Unlock()
	if w.Waits {
		f.announceNow()
	}
	return true
}

// reachLocked notes that everything up to p has been applied.
func (f *follower) reachLocked(p Position) {
	f.applied = p
	close(f.moved)
	f.moved = make(chan struct{})
	if f.upTo != 0 && p >= f.upTo {
		f.knowLocked(f.asked)
	}
}

// heard takes in that at some moment, or later, last was the last position. All up to
// that moment is known once it has been applied.
func (f *follower) heard(at time.Duration, last Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = nil
	switch {
	case f.applied >= last:
		f.knowLocked(at)
	case f.upTo == 0: // not later: it might then be never
		f.asked, f.upTo = at, last
	}
}

func (f *follower) knowLocked(at time.Duration) {
	f.upTo = 0
	f.doubt.known.Store(max(f.doubt.known.Load(), int64(at)))
}

func (f *follower) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// position returns what has been applied, and what is closed when that changes.
func (f *follower) position() (applied Position, started bool, moved <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied, f.started, f.moved
}

func (f *follower) announceNow() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// announce says every second what has been applied, and finds out whether that is all
// there is.
func (f *follower) announce(ctx context.Context) {
	t := time.NewTicker(beat)
	defer t.Stop()
	for ctx.Err() == nil {
		if applied, started, _ := f.position(); started {
			at := f.doubt.since(time.Now())
			if last, err := f.feed.Announce(ctx, applied); err == nil {
				f.heard(at, last)
			} else {
				f.failed(err)
			}
		}
		select {
		case <-t.C:
			f.look(time.Now())
		case <-f.kick:
		case <-ctx.Done():
		}
	}
}

// look notes the pace of fetches, or tells the log that the cache is cut off, once.
func (f *follower) look(now time.Time) {
	cut := f.doubt.cut(now)
	if !cut {
		f.budget.sample(f.count())
	}
	f.mu.Lock()
	change, cause := cut != f.told, f.failure
	f.told = cut
	f.mu.Unlock()
	switch {
	case !change:
	case cut:
		f.logger.Error("cache: cut off from the feed of invalidations; what is stored is served as stale", "cause", cause)
	default:
		f.logger.Warn("cache: back at the feed of invalidations")
	}
}

// send appends what has been invalidated here, all that waits at once.
func (f *follower) send(ctx context.Context) {
	pause := firstPause
	for f.outbox.wait(ctx) {
		batch := f.outbox.take()
		if err := f.append(ctx, batch); err != nil {
			f.outbox.back(batch)
			pause = nextPause(ctx, pause)
			continue
		}
		pause = firstPause
	}
}

func (f *follower) append(ctx context.Context, batch []item) error {
	entries := make([][]byte, len(batch))
	for i, it := range batch {
		entries[i] = it.data
	}
	p, err := f.feed.Append(ctx, entries...)
	if err != nil {
		f.failed(err)
		return err
	}
	for _, it := range batch {
		if it.done != nil {
			it.done <- p // it has room
		}
	}
	return nil
}

// share has other gateways told of what has been invalidated here. If it is asked for,
// the channel brings its position, or that of a later one.
func (f *follower) share(m matcher, mine *own, asked, waits bool) <-chan Position {
	data, err := encode(m, f.self, mine.number(), waits)
	if err != nil {
		f.logger.Error("cache: an invalidation cannot be told", "cause", err) // it has no such fields
		return nil
	}
	it := item{data: data, own: mine}
	var done chan Position
	if asked {
		done = make(chan Position, 1)
		it.done = done
	}
	f.outbox.put(it, func() []byte { return f.everything(mine) })
	return done
}

// everything is the entry that stands for those for which there was no room. The cache
// that sends it has applied them, and knows it by the last of them.
func (f *follower) everything(last *own) []byte {
	data, _ := encode(matcher{all: true}, f.self, last.number(), false)
	return data
}

// mine notes what is about to be invalidated here, before it is.
func (f *follower) mine(m matcher) *own {
	if f.past == nil {
		return nil
	}
	return f.past.mine(m)
}
