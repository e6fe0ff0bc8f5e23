//go:build linux

package main

import (
	"math"
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want quartiles
	}{
		"one":      {[]float64{7}, quartiles{7, 7, 7}},
		"two":      {[]float64{3, 1}, quartiles{1.5, 2, 2.5}},
		"five":     {[]float64{5, 1, 4, 2, 3}, quartiles{2, 3, 4}},
		"four":     {[]float64{10, 40, 20, 30}, quartiles{17.5, 25, 32.5}},
		"the same": {[]float64{2, 2, 2}, quartiles{2, 2, 2}},
	} {
		in := slices.Clone(c.x)
		if got := spread(c.x); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if !slices.Equal(c.x, in) {
			t.Errorf("%s: the rounds' order is gone", name)
		}
	}
	if got := spread(nil); !math.IsNaN(got.low) || !math.IsNaN(got.median) || !math.IsNaN(got.high) {
		t.Errorf("of nothing: %v", got)
	}
}

// A machine that is half as fast in one round changes no ratio.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	a, b := []float64{30, 15, 40}, []float64{20, 10, 20}
	if got := ratios(a, b); !slices.Equal(got, []float64{1.5, 1.5, 2}) {
		t.Errorf("got %v", got)
	}
	if got := spread(ratios(a, b)).median; got != 1.5 {
		t.Errorf("median %v; that of the medians would be 1.5 by chance only", got)
	}
	if got := ratios([]float64{1, 0, 3, 4}, []float64{2, 2, 0}); !slices.Equal(got, []float64{.5}) {
		t.Errorf("rounds without figures: %v", got)
	}
}
