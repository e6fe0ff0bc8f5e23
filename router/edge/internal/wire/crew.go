package wire

import (
	"sync"
	"time"
)

// A crew is goroutines that have run something and wait for what is next. Its zero value
// has none yet. It is safe for concurrent use.
//
// A new goroutine's stack is small, and grows while it works: what a request goes through
// takes some three steps of that, each of which copies the stack and adjusts what points
// into it. That was a tenth of what a proxied request costs over HTTP/2. Who goes on to
// another request has a stack already.
//
// What a handler leaves on its goroutine (labels, runtime.LockOSThread) others find there, as
// the next request on a kept connection of HTTP/1.1 always has.
type crew struct {
	mu    sync.Mutex
	idle  []*worker   // guarded by mu: those that wait, the latest last
	spare int         // guarded by mu: so many have waited since the last sweep
	sweep *time.Timer // guarded by mu: ends those; nil while nobody waits
	over  bool        // guarded by mu: nobody waits any more
}

// A Runner is something to run: a connection that was accepted or woken, or a request of one.
type Runner interface{ Run() }

// Go runs r in a goroutine that may have run something else before.
func (s *Set) Go(r Runner) { s.crew.run(r) }

// Go is that of the connection's set.
func (c *Conn) Go(r Runner) { c.set.crew.run(r) }

// every is how often those are ended that have waited all the time.
const every = time.Second

type worker struct {
	crew *crew
	next chan Runner // nil: there is none any more
}

// run runs r in a goroutine.
func (c *crew) run(r Runner) {
	c.mu.Lock()
	last := len(c.idle) - 1
	if last < 0 {
		c.mu.Unlock()
		w := &worker{c, make(chan Runner, 1)}
		go w.work(r)
		return
	}
	w := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	c.spare = min(c.spare, last)
	c.mu.Unlock()
	w.next <- r
}

// work runs r, and what it is given then.
func (w *worker) work(r Runner) {
	for r != nil {
		r.Run()
		if !w.crew.rest(w) {
			return
		}
		r = <-w.next
	}
}

// rest has w wait for something to run, and reports whether it may.
func (c *crew) rest(w *worker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.idle = append(c.idle, w)
	if c.sweep == nil {
		c.sweep = time.AfterFunc(every, c.thin)
	}
	return true
}

// close ends those that wait. What is asked from now on is run by goroutines that do nothing
// else.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, w := range c.idle {
		w.next <- nil
	}
	c.idle, c.spare = nil, 0
	if c.sweep != nil {
		c.sweep.Stop()
	}
}

// thin ends those that nobody has needed since it came last.
func (c *crew) thin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	for _, w := range c.idle[:c.spare] {
		w.next <- nil
	}
	c.idle = append(c.idle[:0], c.idle[c.spare:]...)
	clear(c.idle[len(c.idle):cap(c.idle)])
	if c.spare = len(c.idle); c.spare == 0 {
		c.sweep = nil
		return
	}
	c.sweep.Reset(every)
}
