package wire

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A step is a Runner.
type step func()

func (f step) Run() { f() }

// waiting is how many of c's goroutines wait for something to run.
func (c *crew) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

// TestCrewRunsAllOnce, however many ask and however they end.
func TestCrewRunsAllOnce(t *testing.T) {
	var c crew
	defer c.close()
	var ran [4000]atomic.Int32
	var askers, all sync.WaitGroup
	for i := range 8 {
		askers.Go(func() {
			for n := i; n < len(ran); n += 8 {
				all.Add(1)
				c.run(step(func() {
					defer all.Done()
					ran[n].Add(1)
					if n%7 == 0 {
						runtime.Goexit()
					}
				}))
			}
		})
	}
	askers.Wait()
	all.Wait()
	for n := range ran {
		if got := ran[n].Load(); got != 1 {
			t.Fatalf("%d ran %d times", n, got)
		}
	}
}

// TestCrewIsAsLargeAsItIsNeeded: who was needed lately waits for what is next, who was not
// ends, and in the end nobody is left.
func TestCrewIsAsLargeAsItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		at := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if got := c.waiting(); got != want {
				t.Errorf("%s %d wait, want %d", when, got, want)
			}
		}
		many := func(n int) {
			t.Helper()
			var all sync.WaitGroup
			for range n {
				all.Add(1)
				c.run(step(func() { time.Sleep(time.Millisecond); all.Done() })) // of the bubble's
			}
			all.Wait()
		}
		many(20)
		at(20, "after 20")
		many(20)
		at(20, "after 20 more")
		for range 30 { // three seconds in which three are needed
			many(3)
			time.Sleep(100 * time.Millisecond) // of the bubble's
		}
		at(3, "after a while with 3")
		time.Sleep(2 * every) // of the bubble's: a sweep counts, the next one ends
		at(0, "after a while with nothing")
		many(2)
		at(2, "once more")
		time.Sleep(3 * every) // of the bubble's, likewise
		at(0, "after that")
		many(5)
		end := make(chan struct{})
		c.run(step(func() { <-end }))
		at(4, "while one works")
		c.close()
		at(0, "once it is closed")
		many(2)
		close(end)
		at(0, "behind that")
	})
}
