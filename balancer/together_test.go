package balancer

import (
	"testing"
	"time"
)

// TestRequestsAreSentTogetherInACrowd: only then does one wait for others, and only for
// those who have come just before.
func TestRequestsAreSentTogetherInACrowd(t *testing.T) {
	p := &proxy{crowd: 8}
	now := time.Unix(1000, 0)
	for _, step := range []struct {
		later    time.Duration
		inflight int64
		want     bool
	}{
		{0, 8, false}, // the first
		{near / 2, 8, true},
		{near / 2, 7, false},
		{near / 2, 100, true},
		{near, 100, false},
		{near - 1, 100, true},
	} {
		now = now.Add(step.later)
		p.inflight.Store(step.inflight)
		if got := p.crowded(now); got != step.want {
			t.Errorf("%v later, with %d in hand: %t, want %t", step.later, step.inflight, got, step.want)
		}
	}
}
