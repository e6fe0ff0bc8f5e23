package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestTuneMemory(t *testing.T) {
	const none = math.MaxInt64
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(none)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	for name, c := range map[string]struct {
		gogc, memory string
		cache        int64
		percent      int
		limit        int64
	}{
		"nothing set":       {"", "", 100 << 20, 400, 270<<20 + 512<<20},
		"no cache":          {"", "", 0, 400, 512 << 20},
		"GOGC is set":       {"50", "", 100 << 20, 100, none},
		"GOMEMLIMIT is set": {"", "1GiB", 100 << 20, 400, none},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetGCPercent(100)
			debug.SetMemoryLimit(none)
			t.Setenv("GOGC", c.gogc)
			t.Setenv("GOMEMLIMIT", c.memory)
			tuneMemory(c.cache)
			if got := debug.SetMemoryLimit(-1); got != c.limit {
				t.Errorf("a limit of %d, want %d", got, c.limit)
			}
			if got := debug.SetGCPercent(100); got != c.percent {
				t.Errorf("%d percent, want %d", got, c.percent)
			}
		})
	}
}
