package cache

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// A Cache holds responses for every handler that it wraps. Its methods are
// safe for concurrent use.
type Cache struct {
	opts     Options
	store    *memory.Store
	log      log
	markers  markers
	searches searches
	sites    atomic.Uint64 // how many handlers there are
	running  running
	coders   *coders

	follower *follower // nil: without a feed
	second   *second   // nil: without a second level; else there is a feed

	figures  figures
	reasons  reasons
	passings passings
	purges   purges
	most     rankings

	refreshes transit.Lines // of the log: refreshes that have failed

	called     law.Addressee
	capability string // what backends are told of us in Surrogate-Capability
}

// New returns an empty cache. It starts nothing.
func New(opts Options) (*Cache, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	coders, err := newCoders(opts.Compress)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		refreshes: transit.Lines{Burst: 20},

		opts:  opts,
		store: memory.New(opts.MaxBytes),

		coders: coders,

		called:     law.Called(opts.Name),
		capability: opts.Name + `="Surrogate/1.0"`,
	}
	if opts.Feed != nil {
		c.follower = newFollower(c)
	}
	if opts.Store != nil {
		c.follower.past = newHistory()
		c.second = newSecond(c)
	}
	return c, nil
}

// Run follows [Options.Feed], and has what is stored saved in [Options.Store], until ctx
// ends, then closes the cache. One without a
// feed works without Run, which then adds only that its fetches have ended when it
// returns. One with a feed that it does not follow is cut off from it. Run is called
// once.
func (c *Cache) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if c.follower != nil {
		wg.Go(func() { c.follower.run(ctx) })
	}
	if c.second != nil {
		wg.Go(func() { c.second.run(ctx) })
	}
	wg.Wait()
	<-ctx.Done()
	err := c.Close()
	if c.second != nil {
		c.second.flush(ctx) // what came meanwhile, for which there is no time
	}
	return err
}

// Close cancels the fetches that are running, and what is being compressed, and
// returns once they have ended. From then on every request passes. It may be called
// again.
func (c *Cache) Close() error {
	c.running.close()
	c.coders.close()
	return nil
}

// figures count what the cache did.
type figures struct {
	hits, stale, covered, collapsed, misses, passes, invalidations, agents, fetches, restored atomic.Uint64
	forms, plain, saved                                                                       atomic.Uint64
}
