package fair

import (
	"math"
	"net/netip"
	"testing"
)

// TestQuota: each client and all have their bound, whoever is not known counts
// among all alone, and what is given back is there again.
func TestQuota(t *testing.T) {
	var q Quota
	one, other, nobody := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.Addr{}
	take := func(what string, client netip.Addr, n int64, want bool) {
		t.Helper()
		before := q.Held()
		got := q.Take(client, n, 10, 4)
		if got != want {
			t.Errorf("%s: %t", what, got)
		}
		if got {
			before += n
		}
		if q.Held() != before {
			t.Errorf("%s: %d are held, want %d", what, q.Held(), before)
		}
	}
	take("one's share", one, 4, true)
	take("more than one's share", one, 1, false)
	take("another's, all at once and more", other, 5, false)
	take("another's", other, 4, true)
	take("more than all", nobody, 3, false)
	take("more than can be counted", nobody, math.MaxInt64, false)
	take("more of one than can be counted", one, math.MaxInt64, false)
	take("the rest, of nobody known", nobody, 2, true)
	q.Give(one, 4)
	take("one's again", one, 4, true)
	q.Give(one, 4)
	q.Give(other, 4)
	q.Give(nobody, 2)
	if q.Held() != 0 || len(q.by) != 0 {
		t.Errorf("%d are held when nobody holds anything, of %d clients", q.Held(), len(q.by))
	}
}
