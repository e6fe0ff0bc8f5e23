package balancer

import (
	"testing"
	"time"
)

func TestHotColdPicks(t *testing.T) {
	cases := []struct {
		name string
		edit func([]Candidate)
		want int
	}{
		{"the fastest of the cold", func(c []Candidate) { c[2].Latency = time.Microsecond }, 2},
		{"not the fastest if it is hot", func(c []Candidate) {
			c[2].Latency, c[2].InFlight = time.Microsecond, 20
			c[1].Latency = time.Millisecond / 2
		}, 1},
		{"not the one that hangs", func(c []Candidate) {
			for i := range 3 {
				c[i].Oldest = time.Second
			}
		}, 3},
	}
	for _, c := range cases {
		list := field(1, 1, 1, 1)
		c.edit(list)
		if got := share(HotCold(), list, 100)[c.want]; got != 1 {
			t.Errorf("%s: got %.2f", c.name, got)
		}
	}
	for i, s := range share(HotCold(), field(1, 1, 1, 1, 1, 1, 1, 1), 10000) {
		if s < 0.08 || s > 0.17 {
			t.Errorf("of equals, %d got %.3f", i, s)
		}
	}
}
