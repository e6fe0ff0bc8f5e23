package php

import (
	"strconv"
	"testing"
)

// TestRingIsRound: beyond its last point comes its first.
func TestRingIsRound(t *testing.T) {
	k, err := newKetama([]string{"10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11311"})
	if err != nil {
		t.Fatal(err)
	}
	first, last := k.points[0], k.points[len(k.points)-1]
	for i := range 100_000 {
		id := strconv.Itoa(i)
		if oneAtATime(id) <= last.hash {
			continue
		}
		if got := k.pick(id); got != first.server {
			t.Errorf("got %d, want %d", got, first.server)
		}
		return
	}
	t.Error("no id lies beyond the last point")
}

// TestPointNames: the default port is left out, as libmemcached does.
func TestPointNames(t *testing.T) {
	for want, got := range map[string]string{
		"10.0.0.1-7":       pointName("10.0.0.1", "11211", 7),
		"10.0.0.1:11311-0": pointName("10.0.0.1", "11311", 0),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
