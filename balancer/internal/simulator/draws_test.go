package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
)

// field returns candidates of equal weight, one for each number in hand.
func field(inFlight ...int) []balancer.Candidate {
	var out []balancer.Candidate
	for i, n := range inFlight {
		out = append(out, balancer.Candidate{Name: string(rune('a' + i)), InFlight: n, Waiting: n, Latency: time.Millisecond, Weight: 1})
	}
	return out
}

// share picks many times and returns how often each candidate was taken.
func share(p balancer.Policy, c []balancer.Candidate, n int) []float64 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, len(c))
	for range n {
		out[p.Pick(balancer.PickInfo{Rand: rng.Uint64()}, balancer.Given(c...))]++
	}
	for i := range out {
		out[i] /= float64(n)
	}
	return out
}

func TestDrawnPicks(t *testing.T) {
	cases := []struct {
		name string
		edit func([]balancer.Candidate)
		want int
	}{
		{"the fastest of the cold", func(c []balancer.Candidate) { c[2].Latency = time.Microsecond }, 2},
		{"not the fastest if it is hot", func(c []balancer.Candidate) {
			c[2].Latency, c[2].InFlight = time.Microsecond, 20
			c[1].Latency = time.Millisecond / 2
		}, 1},
		{"not the one that hangs", func(c []balancer.Candidate) {
			for i := range 3 {
				c[i].Oldest = time.Second
			}
		}, 3},
	}
	for _, c := range cases {
		list := field(1, 1, 1, 1)
		c.edit(list)
		if got := share(hotCold{}, list, 100)[c.want]; got != 1 {
			t.Errorf("%s: got %.2f", c.name, got)
		}
	}
	if got := share(leastOfTwo{}, field(0, 1, 1, 1, 1, 1, 1, 1), 10000)[0]; got < 0.23 || got > 0.27 { // drawn first or second
		t.Errorf("the idlest of eight, two drawn, got %.3f; want 0.25", got)
	}
	for i, s := range share(hotCold{}, field(1, 1, 1, 1, 1, 1, 1, 1), 10000) {
		if s < 0.08 || s > 0.17 {
			t.Errorf("of equals, %d got %.3f", i, s)
		}
	}
}
