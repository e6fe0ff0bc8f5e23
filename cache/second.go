package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/breaker"
)

const (
	secondBudget = 25 * time.Millisecond // that a request waits, and a call takes
	maxBlob      = 2 << 20               // bytes that are saved of one response
	maxFinding   = 64                    // calls that may bring such at once
	absence      = time.Second           // for which what is not there is not looked for again
)

// A second is the second level as a cache uses it. What it finds there it puts into
// memory, and goes on as if it had been there. What it has of responses that vary is
// found in two steps: under what all variants have in common stands on which fields they
// differ.
type second struct {
	cache  *Cache
	store  Store
	asks   *breaker.Breaker // of calls that a request waits for
	tells  *breaker.Breaker // of others: a store may give and take nothing
	places chan struct{}    // one for each call that finds
	saves  saves
	absent markers // what was not there just now

	hits, misses, damaged, failures, left atomic.Uint64

	mu      sync.Mutex
	finding map[string]*finding // guarded by mu, by key
	open    int                 // guarded by mu: how many of the breakers are
	failure error               // guarded by mu: of the last call that failed
}

// A finding is one look under a key, for all who wait for it.
type finding struct {
	done      chan struct{} // closed when what follows is set
	taken     bool          // into memory
	absent    bool          // there is nothing
	selecting string        // on which fields what is stored differs; else it is not known
}

func newSecond(c *Cache) *second {
	s := &second{
		cache: c, store: c.opts.Store,
		places: make(chan struct{}, maxFinding), finding: make(map[string]*finding),
	}
	s.saves.init(c.opts.MaxBytes)
	opts := breaker.Options{
		Budget: secondBudget, InARow: 5, Longest: 30 * time.Second,
		Failure: func(err error) bool { return !errors.Is(err, ErrAbsent) },
		Changed: s.changed,
	}
	s.asks, s.tells = breaker.New(opts), breaker.New(opts)
	return s
}

// changed tells the log once that the second level fails, and once that it is back.
func (s *second) changed(open bool) {
	s.mu.Lock()
	before, cause := s.open, s.failure
	if open {
		s.open++
	} else {
		s.open--
	}
	after := s.open
	s.mu.Unlock()
	logger := s.cache.opts.Logger
	switch {
	case before == 0:
		logger.Error("cache: the second level fails and is left alone for a while; memory and the backends serve", "cause", cause)
	case after == 0:
		logger.Warn("cache: back at the second level")
	}
}

// call makes a call and counts it if it fails.
func (s *second) call(ctx context.Context, b *breaker.Breaker, do func(context.Context) error) error {
	return b.Do(ctx, func(ctx context.Context) error {
		err := do(ctx)
		if err != nil && !errors.Is(err, ErrAbsent) {
			s.failures.Add(1)
			s.mu.Lock()
			s.failure = err
			s.mu.Unlock()
		}
		return err
	})
}

// storeKey is under what the answers to a question are stored, by rules that are called
// as these are.
func (s *second) storeKey(q *question) string {
	sum := sha256.Sum256([]byte(s.cache.opts.Rules.Version + "\x00" + q.key()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// fill puts into memory what the second level has of what a asks for, and reports
// whether memory may have something new.
func (s *second) fill(a *ask) bool {
	begin, marker := time.Now(), a.marker([]byte(a.url))
	if s.absent.has(marker, begin) {
		return false
	}
	q := question{ask: a}
	f := s.find(a, s.storeKey(&q), secondBudget)
	if f.absent {
		s.absent.set(marker, begin.Add(absence))
	}
	if q.selecting = f.selecting; q.selecting != "" {
		f = s.find(a, s.storeKey(&q), secondBudget-time.Since(begin))
	}
	return f.taken
}

// find looks under a key, or waits for who does.
func (s *second) find(a *ask, key string, within time.Duration) *finding {
	s.mu.Lock()
	if f := s.finding[key]; f != nil {
		s.mu.Unlock()
		<-f.done
		return f
	}
	f := &finding{done: make(chan struct{})}
	s.finding[key] = f
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.finding, key)
		s.mu.Unlock()
		close(f.done)
	}()
	data, err := s.load(key, within)
	if f.absent = errors.Is(err, ErrAbsent); err == nil {
		f.taken, f.selecting = s.take(a, data)
	}
	return f
}

// load returns what is under a key. However many wait for it, it is not theirs to
// cancel.
func (s *second) load(key string, within time.Duration) (data []byte, err error) {
	begin := time.Now()
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case s.places <- struct{}{}:
	case <-patience.C:
		return nil, context.DeadlineExceeded
	}
	defer func() { <-s.places }()
	ctx := context.Background()
	if left := within - time.Since(begin); left < secondBudget-time.Millisecond {
		// A call that is given less than its budget proves nothing if it fails. One that
		// has hardly waited has its budget, or none would ever count.
		short, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		ctx = short
	}
	err = s.call(ctx, s.asks, func(ctx context.Context) (err error) {
		data, err = s.store.Load(ctx, key)
		return err
	})
	if errors.Is(err, ErrAbsent) {
		s.misses.Add(1)
	}
	return data, err
}

// take puts a copy into memory, unless it is not what was asked for, has been removed
// since, or is no better than what is there; or says on which fields those differ that
// there are.
//
// It may be of any age, and what has been invalidated meanwhile may not have been here:
// it is held against all entries of the feed behind the one that had been applied where
// it was fetched. Which ones that are is known before any of them is applied here, and
// forgotten before a gap is noted; so what comes between that look and the moment when
// the copy is in memory is found by add, which holds it against this cache's own log.
func (s *second) take(a *ask, data []byte) (taken bool, selecting string) {
	if rest, ok := bytes.CutPrefix(data, []byte(selectingMark)); ok && len(data) <= maxSelecting {
		return false, string(rest)
	}
	c := s.cache
	e, applied, err := readBlob(data, time.Now())
	if err != nil || len(data) > maxBlob || e.URL != a.url || e.HTTPS != a.https || e.Parts() != a.parts || e.Len() > c.opts.MaxBody {
		s.damaged.Add(1)
		return false, ""
	}
	asked, now := c.log.head(), time.Now()
	e.Asked = c.follower.doubt.ticks(now)
	if !c.outlives(e, applied, now) || !c.useful(e, now) {
		s.misses.Add(1)
		return false, ""
	}
	if c.hasAsGood(e) {
		return true, ""
	}
	if use := c.use(e, nil, now); use == law.Fresh || use == law.Grace {
		s.hits.Add(1)
	} else {
		s.misses.Add(1) // it is there to be validated
	}
	return c.add(asked, e, 0), ""
}

// outlives reports whether e may be stored for all that has been invalidated since a
// position in the feed. When that was nobody knows: a soft invalidation makes it stale
// since so long ago that its grace for that is over.
func (c *Cache) outlives(e *memory.Entry, applied Position, now time.Time) bool {
	ok, name, stale := true, nameOf(e.URL), now.Add(-c.opts.Grace)
	c.follower.past.since(applied, e, name, func(m *matcher) bool {
		ok = m.spares(e, name, stale)
		return ok
	})
	return ok
}

// useful reports whether e can be served, if only in place of an error, or validated.
func (c *Cache) useful(e *memory.Entry, now time.Time) bool {
	return c.use(e, nil, now) != law.Ask || e.Field("Etag") != "" || e.Field("Last-Modified") != ""
}

// hasAsGood reports whether memory has what e would replace, and that is as new, or e
// not to be served without more ado.
func (c *Cache) hasAsGood(e *memory.Entry) bool {
	old := c.store.Get([]byte(e.URL), func(old *memory.Entry) bool { return sameKey(old, e) })
	if old == nil {
		return false
	}
	defer c.store.Release(old)
	return e.Purged() != 0 || old.Purged() == 0 && old.Born >= e.Born
}

// report adds how the second level is doing.
func (s *second) report(r *health.Report) {
	open := 0
	for _, b := range [...]*breaker.Breaker{s.asks, s.tells} {
		if b.Open() {
			open++
		}
	}
	if open > 0 && r.State == health.Up {
		r.State, r.Why = health.Degraded, "the second level fails"
	}
	r.Metrics = append(r.Metrics,
		health.Count("copies_found_total", "Copies found in the second level that could be served.", s.hits.Load()),
		health.Count("copies_missed_total", "Copies looked for in the second level that were not there, or not to be served.", s.misses.Load()),
		health.Count("copies_damaged_total", "Copies in the second level that were not whole, or not what was asked for.", s.damaged.Load()),
		health.Count("copies_saved_total", "Copies saved in the second level.", s.saves.saved.Load()),
		health.Count("copies_dropped_total", "Copies not saved in the second level, for want of room or of an answer.", s.saves.dropped.Load()),
		health.Level("copies_waiting", "Copies and leases that the second level is to be told of.", "", float64(len(s.saves.queue))),
		health.Count("calls_failed_total", "Calls to the second level that failed.", s.failures.Load()),
		health.Count("trips_total", "Trips of the breakers, each of which gives the second level up for a while.", s.asks.Trips()+s.tells.Trips()),
		health.Level("breakers_open", "Breakers before the second level that are open: of calls that a request waits for, and of others.", "", float64(open)),
		health.Count("refreshes_left_total", "Refreshes left to other gateways.", s.left.Load()),
	)
}
