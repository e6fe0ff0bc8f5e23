package testkit

import "sync"

// PoolsLose reports whether pools lose some of what they are given, as they do under
// the race detector: what costs no memory otherwise allocates then.
func PoolsLose() bool {
	var p sync.Pool
	lost := 0
	for range 100 {
		p.Put(new(int))
		if p.Get() == nil {
			lost++
		}
	}
	return lost > 10
}
