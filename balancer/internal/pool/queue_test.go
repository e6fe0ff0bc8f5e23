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

// TestOnlyWhoIsNextTries when something came free: one who tried out of its turn
// might have what comes free meanwhile. Those behind who wait for a place of their
// own try too.
func TestOnlyWhoIsNextTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var own atomic.Bool
		var tries [4]atomic.Int64
		errs := []error{errPartly, ErrBusy, ErrBusy, errBound}
		done := make(chan error, len(errs))
		for i, err := range errs {
			go func() {
				done <- q.wait(t.Context(), nil, Limits{Queue: 128, Wait: time.Hour}, netip.Addr{}, own.Load, func() error {
					tries[i].Add(1)
					return err
				})
			}()
			synctest.Wait()
		}
		for _, may := range []bool{false, true} {
			own.Store(may)
			for i := range tries {
				tries[i].Store(0)
			}
			q.wake()
			synctest.Wait()
			last := int64(0)
			if may {
				last = 1
			}
			for i, want := range []int64{1, 1, 0, last} { // what is free for others is not for the first
				if n := tries[i].Load(); n != want {
					t.Errorf("with a place of its own %v: %d tried %d times, want %d", may, i, n, want)
				}
			}
		}
		for range errs {
			<-done
		}
	})
}

// TestWhoMadeRoomDoesNotTry again, though it was woken at the same moment.
func TestWhoMadeRoomDoesNotTry(t *testing.T) {
	greedy, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 32 { // a select takes either of the two
		var q queue
		limit := Limits{Queue: 2, Wait: time.Hour}
		q.enter(limit, greedy, nil)
		tries, goOn, done := make(chan bool, 2), make(chan bool), make(chan error)
		go func() {
			done <- q.wait(t.Context(), nil, limit, greedy, nil, func() error {
				tries <- true
				<-goOn
				return ErrBusy
			})
		}()
		<-tries
		last := q.waiters.Back().Value.(*waiter)
		if el, _ := q.enter(limit, other, nil); el == nil {
			t.Fatal("there is no room")
		}
		last.woken <- struct{}{}
		close(goOn)
		if err := <-done; err != ErrShare || len(tries) > 0 {
			t.Fatalf("who made room: %v, tried %d times more", err, len(tries))
		}
	}
}

// TestAPlaceOfOnesOwnBringsNoTurnForward: else one client's bound requests would
// make room for its others.
func TestAPlaceOfOnesOwnBringsNoTurnForward(t *testing.T) {
	var q queue
	limit := Limits{Queue: 3, Wait: time.Hour}
	client := netip.MustParseAddr("192.0.2.1")
	first, _ := q.enter(limit, client, nil)
	second, _ := q.enter(limit, client, nil)
	q.stay(second, errBound, false)
	q.leave(second, true)
	if want := first.Value.(*waiter).turn; q.now != want {
		t.Errorf("now is turn %d's, want %d", q.now, want)
	}
}
