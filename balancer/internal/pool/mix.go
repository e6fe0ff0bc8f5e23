package pool

import (
	"github.com/cespare/xxhash/v2"
)

// Hash64 is the same in every process, and never 0.
func Hash64(s string) uint64 { return xxhash.Sum64String(s) | 1 }

// Mix spreads x over all bits (splitmix64).
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
