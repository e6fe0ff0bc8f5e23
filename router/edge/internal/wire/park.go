package wire

import (
	"sync/atomic"
	"time"
)

// park is what lets a reader leave its connection alone: a goroutine and its
// stack cost more than all else of a connection on which nothing is asked.
type park struct {
	able   atomic.Bool // the reader parks when it is asked to
	asked  atomic.Bool // the reader had better park
	atOnce bool        // the same, without being interrupted; the reader's
	rested int64       // when the last rest began, by the set's clock; the reader's
	parked atomic.Bool // nobody reads until wake is called
	wake   func()      // not changed while parked
}

// waits reports whether a reader that could park waits for something to be asked.
func (c *Conn) waits() bool {
	return c.idle.Load() != 0 && c.park.able.Load() && !c.park.parked.Load()
}

// parkAfter asks a reader that waits to park, at now, if nothing has been asked for
// d, and reports whether it did.
func (c *Conn) parkAfter(now int64, d time.Duration) bool {
	since := c.idle.Load()
	return since != 0 && now-since >= int64(d) && c.askToPark()
}

// askToPark interrupts the reader, so that it parks.
func (c *Conn) askToPark() bool {
	if !c.canPark() || c.park.parked.Load() || c.park.asked.Swap(true) {
		return false
	}
	_ = c.Conn.SetReadDeadline(past) // a closed connection interrupts by itself
	return true
}

func (c *Conn) canPark() bool {
	return c.park.able.Load() && c.set.watch != nil && c.raw != nil
}

// Parks says that the reader parks when it is asked to: see [Conn.Read]. Others
// are not asked.
func (c *Conn) Parks() { c.park.able.Store(true) }

// ShouldPark reports whether a read has ended only so that its reader can park.
func (c *Conn) ShouldPark() bool {
	return (c.park.atOnce || c.park.asked.Load()) && c.idle.Load() != 0
}

// NeverParks says that the reader is not asked to park any more: it has a deadline.
func (c *Conn) NeverParks() { c.park.able.Store(false) }

// StayAwake takes back that the reader had better park, and reports whether it had.
func (c *Conn) StayAwake() bool {
	atOnce := c.park.atOnce
	c.park.atOnce = false
	return c.park.asked.Swap(false) || atOnce
}

// Park has wake called, on a goroutine of its own, as soon as there is something
// to read: bytes, the connection's end, or the end of the reader's time. It
// reports whether that is so; the reader must then not touch the connection
// again before. Else it has to go on reading, as who has a deadline must: nobody
// would wake it then.
func (c *Conn) Park(wake func()) bool {
	c.StayAwake()
	if c.reading.restore(c.Conn.SetReadDeadline) != nil {
		return false
	}
	c.park.wake = wake
	c.set.awake.Add(-1)
	c.park.parked.Store(true)
	if !c.reading.isSet() && c.set.watch.await(c) { // who sets a deadline later finds it parked
		return true
	}
	// Whoever has woken the reader meanwhile has done what was to be done.
	return !c.rouse()
}

// Wake wakes the reader if it has parked.
func (c *Conn) Wake() { c.unpark() }

// Parked reports whether nobody reads the connection.
func (c *Conn) Parked() bool { return c.park.parked.Load() }

// unpark wakes a reader that has parked, once, and reports whether one had.
func (c *Conn) unpark() bool {
	if !c.rouse() {
		return false
	}
	c.Go((*woken)(c))
	return true
}

// rouse ends the parking of a reader, once, and reports whether it had parked.
func (c *Conn) rouse() bool {
	if !c.park.parked.CompareAndSwap(true, false) {
		return false
	}
	c.set.awake.Add(1)
	return true
}

// A woken is a connection that is read again.
type woken Conn

// Run implements [Runner].
func (c *woken) Run() { c.park.wake() }
