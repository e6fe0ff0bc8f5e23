package balancer

import (
	"runtime"
	"time"
)

// near is how close behind one another requests come that are sent together.
const near = 100 * time.Microsecond

// together lets those who have come with a request that is about to be sent get as far
// first, if there are many. So what all of them write goes out at once, and whoever reads
// it on this machine, a server or the network's driver, is woken for all instead of for
// each: where processors are busy, that costs as much as much else here. With few in hand
// there is nobody to wait for, and to let others go first costs something.
func (p *proxy) together(now time.Time) {
	if p.crowded(now) {
		runtime.Gosched()
	}
}

// crowded reports whether a request that is about to be sent at now is one of many.
func (p *proxy) crowded(now time.Time) bool {
	at := now.UnixNano()
	return at-p.sending.Swap(at) < int64(near) && p.inflight.Load() >= p.crowd
}
