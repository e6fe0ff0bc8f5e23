package main

import "testing"

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"cart", "_ga", false}, {"_ga", "_ga", true}, {"_ga_1", "_ga_*", true}, {"_*", "_ga_*", true}, {"_ga*", "_g*", true},
		{"_gac", "_ga_*", false}, {"wordpress_logged_in_*", "wordpress", false}, {"*", "pin", true}, {"cart", "", false},
	} {
		if overlap([]string{c.a}, []string{c.b}) != c.want || overlap([]string{c.b}, []string{c.a}) != c.want {
			t.Errorf("%q and %q: want %t", c.a, c.b, c.want)
		}
	}
}
