package edge

import "sync"

// upgrades are the connections that handlers have taken over, which nobody else
// ends when the server does.
type upgrades struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	gone  bool               // guarded by mu: closeAll has been called
}

func (u *upgrades) add(c *conn) {
	u.mu.Lock()
	gone := u.gone
	if !gone {
		if u.conns == nil {
			u.conns = make(map[*conn]struct{})
		}
		u.conns[c] = struct{}{}
	}
	u.mu.Unlock()
	if gone {
		_ = c.Close() // nothing can be done about a connection that does not close
	}
}

func (u *upgrades) remove(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
}

func (u *upgrades) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// closeAll closes all of them, and each one that is still to come.
func (u *upgrades) closeAll() {
	u.mu.Lock()
	u.gone = true
	conns := u.conns
	u.conns = nil
	u.mu.Unlock()
	for c := range conns {
		_ = c.Close() // likewise
	}
}
