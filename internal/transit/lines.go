package transit

import (
	"sync"
	"time"
)

// Lines bounds the log lines of one kind that strangers can have written by
// connecting alone: some at once, then one a second. Its zero value allows one
// at once. It is safe for concurrent use.
type Lines struct {
	Burst int // that may come at once; 0: one. Not to be changed in use

	mu     sync.Mutex
	paid   time.Time // guarded by mu: up to when the lines written use up the allowance
	untold int       // guarded by mu: since the latest
}

// Allow reports whether a line may be written at now, and how many others of
// its kind were not since the one before.
func (l *Lines) Allow(now time.Time) (others int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paid.Before(now) {
		l.paid = now
	}
	if l.paid.Sub(now) > time.Duration(max(l.Burst, 1)-1)*time.Second {
		l.untold++
		return 0, false
	}
	l.paid = l.paid.Add(time.Second)
	others, l.untold = l.untold, 0
	return others, true
}
