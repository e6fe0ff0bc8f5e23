package main

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/foretier/foretier/balancer"
)

// keys is S9: a thousand requests in hand at once, their keys by Zipf, and a
// server that goes.
func keys(w io.Writer) {
	fmt.Fprintf(w, "\nS9  keys by Zipf, one of 16 servers goes\n%-20s %14s %12s\n", "", "max/mean load", "keys moved")
	for _, c := range []struct {
		name  string
		bound float64
	}{{"hash, bound 1.25", 1.25}, {"hash, no bound", -1}} {
		policy := balancer.Hash(nil, c.bound)
		rng := rand.New(rand.NewPCG(1, 2))
		zipf := rand.NewZipf(rng, 1.1, 1, 9999)
		place := func(n int) (most float64) {
			list := candidates(n)
			for range 1000 {
				i := policy.Pick(balancer.PickInfo{Key: spread(zipf.Uint64())}, balancer.Given(list...))
				list[i].InFlight++
			}
			for _, s := range list {
				most = max(most, float64(s.InFlight)*float64(n)/1000)
			}
			return most
		}
		load := place(16)
		moved := 0
		const total = 10000
		for k := range uint64(total) {
			info := balancer.PickInfo{Key: spread(k)}
			before, after := candidates(16), candidates(15)
			if before[policy.Pick(info, balancer.Given(before...))].Name != after[policy.Pick(info, balancer.Given(after...))].Name {
				moved++
			}
		}
		fmt.Fprintf(w, "%-20s %14.2f %11.1f%%  (1/16 = 6.2%%)\n", c.name, load, 100*float64(moved)/total)
	}
}

func candidates(n int) []balancer.Candidate {
	out := make([]balancer.Candidate, n)
	for i := range out {
		out[i] = balancer.Candidate{Name: string(rune('a' + i)), Weight: 1}
	}
	return out
}

func spread(x uint64) uint64 { return (x + 1) * 0x9e3779b97f4a7c15 }
