package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// shared waits until the feed has taken what share was asked to tell.
func (f *follower) shared(ctx context.Context, list []<-chan Position) (last Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, shareWait)
	defer cancel()
	for _, done := range list {
		select {
		case p := <-done:
			last = max(last, p)
		case <-ctx.Done():
			f.mu.Lock()
			cause := f.failure
			f.mu.Unlock()
			return 0, errors.Join(ErrNotShared, cause)
		}
	}
	return last, nil
}

// synced waits until everything up to p has been applied.
func (f *follower) synced(ctx context.Context, p Position) error {
	for {
		applied, _, moved := f.position()
		if applied >= p {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("cache: waiting for position %d, at %d: %w", p, applied, context.Cause(ctx))
		}
	}
}

// lagging waits until every gateway has applied p, and returns, once ctx has ended,
// those that have not, in order. It fails if the feed does not say.
func (f *follower) lagging(ctx context.Context, p Position) (names []string, err error) {
	for pause := 2 * time.Millisecond; ; pause = min(3*pause/2, 200*time.Millisecond) { // who follows has it in a few
		// Not within ctx: its end is not to hide who lags.
		there, err := f.feed.Gateways(context.WithoutCancel(ctx))
		names = names[:0]
		for name, applied := range there {
			if applied < p {
				names = append(names, name)
			}
		}
		if err == nil && len(names) == 0 || ctx.Err() != nil {
			slices.Sort(names)
			return names, err
		}
		rest(ctx, pause)
	}
}
