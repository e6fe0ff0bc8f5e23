package router

import (
	"net/netip"
	"testing"
	"time"
)

// However many clients come, the limiter stays small, and those with
// something on their account are the last to be forgotten.
func TestLimiterForgets(t *testing.T) {
	l := newLimiter(Limit{Rate: 1})
	now := time.Unix(1e9, 0)
	client := func(n int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	for n := range maxClients {
		l.take(client(n), now)
	}
	now = now.Add(time.Minute)
	if _, ok := l.take(client(maxClients), now); !ok || len(l.due) != 1 {
		t.Errorf("those of a minute ago are still there: %d", len(l.due))
	}
	if _, ok := l.take(client(maxClients), now); ok {
		t.Error("the latest was forgotten")
	}
	for n := range 2 * maxClients {
		l.take(client(n), now)
	}
	if len(l.due) > maxClients {
		t.Errorf("%d clients", len(l.due))
	}
}
