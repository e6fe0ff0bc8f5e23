package pool

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoStandsAsideIsNotWokenInVain, and is woken once it may have a place; those
// behind it are meanwhile.
func TestWhoStandsAsideIsNotWokenInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var may, free atomic.Bool
		var tries, behind atomic.Int64
		limit := Limits{Queue: 128, Wait: time.Hour}
		done := make(chan error, 65)
		for range 64 {
			go func() {
				done <- q.wait(t.Context(), nil, limit, netip.MustParseAddr("192.0.2.1"), may.Load, func() error {
					tries.Add(1)
					if may.Load() {
						return nil
					}
					return ErrShare
				})
			}()
		}
		synctest.Wait()
		go func() {
			done <- q.wait(t.Context(), nil, limit, netip.MustParseAddr("192.0.2.2"), nil, func() error {
				behind.Add(1)
				if free.Load() {
					return nil
				}
				return ErrBusy
			})
		}()
		synctest.Wait()
		if n := q.before(); n != 1 {
			t.Errorf("%d wait for any place, want 1", n)
		}
		for range 100 {
			q.wake()
			synctest.Wait()
		}
		if tries.Load() != 64 || behind.Load() != 101 {
			t.Errorf("those aside tried %d times, want 64, who is behind them %d, want 101", tries.Load(), behind.Load())
		}
		free.Store(true)
		q.wake()
		if err := <-done; err != nil {
			t.Error(err)
		}
		may.Store(true)
		q.wake()
		for range 64 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if q.len() != 0 || q.before() != 0 || q.counted() != 0 {
			t.Errorf("afterwards %d wait", q.len())
		}
	})
}
