package wire

// Watch has gone called, from another goroutine, if the client leaves before
// Unwatch, and reports whether the connection can be watched at all: without a
// socket of its own, or on other systems than Linux, the client's leaving shows
// only to those who read or write. A client that left before has left.
//
// To close its direction is to leave, unless [Options.HalfClosed] says
// otherwise.
func (c *Conn) Watch(gone *func()) bool {
	if !c.set.watch.add(c) {
		return false
	}
	c.watched.gone.Store(gone)
	if c.watched.left.Load() {
		(*gone)()
	}
	return true
}

// Unwatch ends what Watch began; gone may be running, and may have been called
// twice.
func (c *Conn) Unwatch() { c.watched.gone.Store(nil) }
