package balancer

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/foretier/foretier/internal/transit"
)

// A quota counts what is held of something that all clients have in common, in
// all and by each of them, so that no single one holds it all. It holds nothing
// of a client that holds nothing.
type quota struct {
	mu   sync.Mutex
	used int64                // guarded by mu
	by   map[netip.Addr]int64 // guarded by mu
}

// take counts n more for a client, unless all would hold more than most of it or
// the client more than each. A client without an address counts among all alone.
func (q *quota) take(client netip.Addr, n, most, each int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used+n > most || client.IsValid() && q.by[client]+n > each {
		return false
	}
	q.used += n
	if client.IsValid() {
		if q.by == nil {
			q.by = make(map[netip.Addr]int64)
		}
		q.by[client] += n
	}
	return true
}

// give takes n off again.
func (q *quota) give(client netip.Addr, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= n
	if !client.IsValid() {
		return
	}
	if q.by[client] -= n; q.by[client] == 0 {
		delete(q.by, client)
	}
}

// held returns what is held in all.
func (q *quota) held() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}

// clientOf returns what counts as one client. The zero Addr: nobody knows who asks,
// as under an http.Client.
func clientOf(r *http.Request) netip.Addr { return transit.Network(transit.Client(r)) }
