package fair

import (
	"net/netip"
	"testing"
)

// TestWhatOneGets: all but an eighth alone, of few all, and who comes next and
// takes what there is leaves something too.
func TestWhatOneGets(t *testing.T) {
	fill := func(free int) (got int) {
		for free > 0 && !Over(got, free) {
			got, free = got+1, free-1
		}
		return got
	}
	for all, want := range map[int]int{0: 0, 1: 1, 4: 4, 7: 7, 8: 7, 16: 14, 100: 88, 240: 210} {
		if got := fill(all); got != want {
			t.Errorf("of %d one gets %d, want %d", all, got, want)
		}
	}
	const all = 240
	free := all
	for i := range 2 {
		got := fill(free)
		if got == 0 || free-got == 0 {
			t.Errorf("the next after %d gets %d of %d", i, got, free)
		}
		free -= got
	}
	for n := range 300 {
		for free := 1; free <= n; free++ {
			if Ample(free, n) && Over(n-free, free) {
				t.Errorf("of %d, %d are free: ample, and too little", n, free)
			}
		}
	}
}

// TestWhoIsOneClient: an IPv4 address, in whatever form, or an IPv6 /64.
func TestWhoIsOneClient(t *testing.T) {
	of := func(s string) Key { return Of(netip.MustParseAddr(s)) }
	if of("192.0.2.1") != of("::ffff:192.0.2.1") || of("2001:db8::1") != of("2001:db8::2") {
		t.Error("one client has two keys")
	}
	if of("192.0.2.1") == of("192.0.2.2") || of("2001:db8::1") == of("2001:db8:0:1::1") {
		t.Error("two clients have one key")
	}
	var table Table
	k := of("192.0.2.1")
	table.Count(k).Add(2)
	if table.Held(k) != 2 || table.Held(k.At(4711)) != 0 && k.At(4711)%slots != k%slots {
		t.Error("counted elsewhere")
	}
	if nobody := Of(netip.Addr{}); nobody != 0 || nobody.At(1) != 0 || table.Count(nobody) != nil || table.Held(nobody) != 0 {
		t.Error("something is counted of nobody")
	}
	if n := testing.AllocsPerRun(100, func() { table.Count(of("192.0.2.1").At(1)).Add(0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
