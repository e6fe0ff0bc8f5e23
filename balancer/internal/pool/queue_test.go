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

// TestNobodyOvertakesWhoWasWoken and has not come to try: a newcomer waits behind
// it, and has its turn if what came free is not for that one.
func TestNobodyOvertakesWhoWasWoken(t *testing.T) {
	for name, forFirst := range map[string]bool{"it is for the first": true, "the first may not have it": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q queue
				var free atomic.Int64
				limit := Limits{Queue: 128, Wait: time.Hour}
				wait := func(client string, try func() error) chan error {
					done := make(chan error, 1)
					go func() {
						done <- q.wait(t.Context(), nil, limit, netip.MustParseAddr(client), func() bool { return false }, try)
					}()
					synctest.Wait()
					return done
				}
				take := func() error {
					if free.Add(-1) < 0 {
						free.Add(1)
						return ErrBusy
					}
					return nil
				}
				woken, tries := make(chan bool), 0
				first := wait("192.0.2.1", func() error {
					if tries++; tries == 1 {
						return ErrBusy
					}
					<-woken
					if !forFirst {
						return ErrShare
					}
					return take()
				})
				free.Store(1)
				q.wake()
				second := wait("192.0.2.2", take)
				select {
				case <-second:
					t.Fatal("the newcomer has the place")
				default:
				}
				close(woken)
				served := map[bool]chan error{true: first, false: second}[forFirst]
				if err := <-served; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if n := q.len(); n != 1 {
					t.Errorf("%d wait, want 1", n)
				}
				free.Store(1)
				q.wake()
				if forFirst {
					if err := <-second; err != nil {
						t.Error(err)
					}
					return
				}
				time.Sleep(limit.Wait)
				if err := <-first; err != ErrShare {
					t.Errorf("the first: %v", err)
				}
			})
		})
	}
}
