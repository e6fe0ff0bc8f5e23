package breaker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errSick = errors.New("sick")

func ok(context.Context) error   { return nil }
func sick(context.Context) error { return errSick }
func hung(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// calls makes n calls and returns how many were let through.
func calls(b *Breaker, n int, f func(context.Context) error) (through int) {
	for range n {
		if err := b.Do(context.Background(), f); !errors.Is(err, ErrOpen) {
			through++
		}
	}
	return through
}

func TestOpensAtHalfOfTwenty(t *testing.T) {
	cases := map[string]struct {
		good, bad int
		open      bool
	}{
		"too few to tell":    {0, 19, false},
		"all of twenty":      {0, 20, true},
		"half of twenty":     {10, 10, true},
		"just below half":    {11, 10, false},
		"many good, one bad": {100, 1, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(Options{})
				calls(b, c.good, ok)
				calls(b, c.bad, sick)
				if b.Open() != c.open {
					t.Errorf("open: got %t", b.Open())
				}
			})
		})
	}
}

func TestOpensAfterSomeInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{InARow: 5, Longest: 30 * time.Second})
		for range 10 {
			calls(b, 4, sick)
			calls(b, 1, ok)
		}
		if b.Open() {
			t.Error("four in a row opened it")
		}
		calls(b, 5, sick)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			time.Sleep(want*time.Second - time.Nanosecond)
			if n := calls(b, 5, sick); n != 0 {
				t.Errorf("open for less than %d s", want)
			}
			time.Sleep(time.Nanosecond)
			if n := calls(b, 5, sick); n != 1 {
				t.Errorf("after %d s %d calls were tried, want 1", want, n)
			}
		}
		time.Sleep(30 * time.Second)
		if n := calls(b, 5, ok); n != 5 || b.Open() || b.Trips() != 1 {
			t.Errorf("%d of 5 passed, it opened %d times", n, b.Trips())
		}
		calls(b, 5, sick)
		time.Sleep(time.Second)
		if n := calls(b, 1, ok); n != 1 {
			t.Error("it stays open for longer when it opens anew")
		}
	})
}

func TestOldFailuresAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		calls(b, 19, sick)
		time.Sleep(6 * time.Second)
		calls(b, 19, sick)
		if b.Open() {
			t.Error("failures of more than 5 s ago count")
		}
		time.Sleep(3 * time.Second)
		calls(b, 1, sick)
		if !b.Open() {
			t.Error("failures of 3 s ago do not count")
		}
	})
}

func TestOneCallIsTriedAfterThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		calls(b, 20, sick)
		if n := calls(b, 5, ok); n != 0 {
			t.Errorf("open, but %d calls passed", n)
		}
		time.Sleep(time.Second)
		if n := calls(b, 5, sick); n != 1 {
			t.Errorf("%d calls were tried, want 1", n)
		}
		time.Sleep(time.Second)
		hold := make(chan struct{})
		go b.Do(context.Background(), func(context.Context) error { <-hold; return nil })
		synctest.Wait()
		if n := calls(b, 5, ok); n != 0 {
			t.Errorf("%d calls passed beside the one being tried", n)
		}
		close(hold)
		synctest.Wait()
		if n := calls(b, 5, ok); n != 5 || b.Open() {
			t.Errorf("closed again, but only %d of 5 passed", n)
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		b := New(Options{Changed: func(open bool) { told = append(told, open) }})
		calls(b, 30, sick)
		time.Sleep(time.Second)
		calls(b, 1, sick) // tried, and open still
		time.Sleep(time.Second)
		calls(b, 5, ok)
		if !slices.Equal(told, []bool{true, false}) {
			t.Errorf("got %v, want opened, closed", told)
		}
	})
}

func TestTheBudgetEndsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		start := time.Now()
		if err := b.Do(context.Background(), hung); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
	})
}

func TestACallerWhoLeavesProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		for range 50 {
			b.Do(gone, hung)
		}
		if b.Open() {
			t.Error("clients that left opened the breaker")
		}
		calls(b, 20, sick)
		if !b.Open() { // 20 of 20, not of 70
			t.Error("clients that left count as calls that went well")
		}
		time.Sleep(time.Second)
		b.Do(gone, hung) // the one that is tried
		if n := calls(b, 1, ok); n != 1 {
			t.Error("an abandoned try keeps the breaker open for ever")
		}
	})
}

func TestErrorsThatAreAnswers(t *testing.T) {
	errAbsent := errors.New("absent")
	b := New(Options{Failure: func(err error) bool { return err != errAbsent }})
	for range 50 {
		b.Do(context.Background(), func(context.Context) error { return errAbsent })
	}
	if b.Open() {
		t.Error("an answer counted as a failure")
	}
}

func TestAPanicReleasesTheTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		calls(b, 20, sick)
		time.Sleep(time.Second)
		func() {
			defer func() { _ = recover() }()
			b.Do(context.Background(), func(context.Context) error { panic("bug") })
		}()
		if n := calls(b, 1, ok); n != 1 {
			t.Error("the breaker stays open for ever")
		}
	})
}

func TestLeash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLeash(2)
		hold := make(chan struct{})
		stuck := func() (int, error) { <-hold; return 1, nil }
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go Call(ctx, l, stuck)
		if _, err := Call(ctx, l, stuck); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a stuck call: got %v", err)
		}
		// Both are still running: a third must not begin.
		ctx2, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		_, err := Call(ctx2, l, func() (int, error) { t.Error("began"); return 0, nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond its number: got %v", err)
		}
		close(hold)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if v, err := Call(context.Background(), l, func() (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	})
}
