package main

import (
	"os"
	"runtime/debug"
)

// What is done with memory, unless the environment says otherwise by GOGC and
// GOMEMLIMIT. This file is the same in all examples, each of which can be copied.
const (
	// gcPercent is how much is allocated before garbage is collected, in percent of
	// what is in use. With Go's own 100 a gateway with little in its cache, a few
	// megabytes, collects over and over.
	gcPercent = 400
	// beside is what may be in use beside the cache: connections, pages and uploads
	// on their way.
	beside = 512 << 20
)

// memoryLimit is where the rule of gcPercent ends, in bytes: what a full cache of this
// size takes with Go's own figures, and beside. Towards it garbage is collected the
// more often; it is no bound on what is in use.
func memoryLimit(cacheSize int64) int64 { return cacheSize/10*27 + beside }

// tuneMemory has garbage collected at 400 percent, up to a memory limit of 2.7 times the
// cache's size in bytes, which may be 0, and 512 MiB. Who has set GOGC knows better:
// then it does nothing; a GOMEMLIMIT stays. It is for main, once at the start.
func tuneMemory(cacheSize int64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(gcPercent)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(cacheSize))
	}
}
