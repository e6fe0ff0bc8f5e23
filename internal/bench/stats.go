//go:build linux

package main

import (
	"math"
	"slices"
)

// Quartiles are of figures that were measured in several rounds.
type quartiles struct{ low, median, high float64 }

// spread returns the quartiles of x, interpolated between its members; NaN of none.
func spread(x []float64) quartiles {
	if len(x) == 0 {
		return quartiles{math.NaN(), math.NaN(), math.NaN()}
	}
	x = slices.Sorted(slices.Values(x))
	at := func(q float64) float64 {
		i, part := math.Modf(q * float64(len(x)-1))
		if part == 0 {
			return x[int(i)]
		}
		return x[int(i)]*(1-part) + x[int(i)+1]*part
	}
	return quartiles{at(.25), at(.5), at(.75)}
}

// ratios divides a by b round by round: the machine is as fast for both within
// one, and not from one to the next. Rounds that either has no figure of are left out.
func ratios(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			out = append(out, a[i]/b[i])
		}
	}
	return out
}
