package fair

import (
	"net/netip"
	"sync"
)

// A Quota counts what is held of something that all clients have in common, in
// all and by each of them, so that no single one holds it all. It holds nothing
// of a client that holds nothing. The zero Quota is ready; it is safe for
// concurrent use.
type Quota struct {
	mu   sync.Mutex
	used int64                // guarded by mu
	by   map[netip.Addr]int64 // guarded by mu
}

// Take counts n more for a client, unless all would hold more than most of it or
// the client more than each. A client without an address counts among all alone.
func (q *Quota) Take(client netip.Addr, n, most, each int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n > most-q.used || client.IsValid() && n > each-q.by[client] { // no sum, which may overflow
		return false
	}
	q.addLocked(client, n)
	return true
}

func (q *Quota) addLocked(client netip.Addr, n int64) {
	q.used += n
	if !client.IsValid() {
		return
	}
	if q.by == nil {
		q.by = make(map[netip.Addr]int64)
	}
	if q.by[client] += n; q.by[client] == 0 {
		delete(q.by, client)
	}
}

// Give takes n off again.
func (q *Quota) Give(client netip.Addr, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(client, -n)
}

// Held returns what is held in all.
func (q *Quota) Held() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}
