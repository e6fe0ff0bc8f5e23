package memory

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestEachFindsWhatWasFoundValid: what invalidates all while an entry is being
// added is seen by valid, or finds the entry.
func TestEachFindsWhatWasFoundValid(t *testing.T) {
	for range 200 {
		s := New(1 << 20)
		var invalid, done atomic.Bool
		over := make(chan struct{})
		asked := 0
		valid := func() bool {
			ok := !invalid.Load()
			if asked++; asked == 2 {
				go func() {
					defer close(over)
					invalid.Store(true)
					s.Each(func(*Entry) bool { return true })
					done.Store(true)
				}()
				for i := 0; i < 1000 && !done.Load(); i++ {
					runtime.Gosched() // whether it waits shows by nothing else
				}
			}
			return ok
		}
		s.Add(&Entry{URL: "h/a", Body: make([]byte, 100)}, 0, func(*Entry) bool { return false }, valid)
		if <-over; s.Stats().Count != 0 {
			t.Fatal("it is stored, and was invalidated")
		}
	}
}
