package pool

import (
	"net/netip"
	"sync"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
)

// What soft evidence against a backend needs besides its number: one visitor who
// asks for what fails everywhere, at one backend after the other, must not take
// them out, nor make the others' requests go elsewhere, and one broken page is no
// broken server.
const (
	blameClients = 3   // different ones; a visitor may well have two addresses
	blameURLs    = 2   // different ones
	erredShare   = 0.1 // of a pool, at most, is out for answers of 500: an application's fault, which it brings along
)

// A blame remembers whose requests failed of late at a backend, or were answered
// by a wish for patience.
type blame struct {
	mu      sync.Mutex
	last    [16]Witness // guarded by mu
	next    int         // guarded by mu: the oldest of last
	unknown uint64      // guarded by mu: clients without an address, each of whom counts
}

// A Witness is a request that failed.
type Witness struct {
	at          int64  // in ns; 0: none
	client, url uint64 // hashed; client 0: nobody knows
	erred       bool   // it was answered, with a 500 or the like
}

// Testify returns a Witness of what failed for a client, the zero Addr if nobody
// knows who asked.
func Testify(now time.Time, client netip.Addr, url string, o tracker.Outcome) Witness {
	w := Witness{at: now.UnixNano(), url: Hash64(url), erred: o == tracker.Erred}
	if client.IsValid() {
		w.client = Hash64(client.String())
	}
	return w
}

// add remembers a request that failed.
func (b *blame) add(w Witness) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.client == 0 { // nobody knows who asks, as under an http.Client
		b.unknown++
		w.client = b.unknown
	}
	b.last[b.next] = w
	b.next = (b.next + 1) % len(b.last)
}

// weigh reports whether what failed since then is of several clients, and of
// several URLs, and whether most of it was answered.
func (b *blame) weigh(since time.Time) (ofClients, ofURLs, erred bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var clients, urls [blameClients]uint64
	nc, nu, n, answered := 0, 0, 0, 0
	for _, f := range b.last {
		if f.at < since.UnixNano() || f.at == 0 {
			continue
		}
		n++
		if f.erred {
			answered++
		}
		nc = distinct(clients[:], nc, f.client)
		nu = distinct(urls[:blameURLs], nu, f.url)
	}
	return nc == blameClients, nu == blameURLs, 2*answered > n
}

// distinct adds v to the n that are in set, if it is new and there is room.
func distinct(set []uint64, n int, v uint64) int {
	for _, known := range set[:n] {
		if known == v {
			return n
		}
	}
	if n < len(set) {
		set[n] = v
		n++
	}
	return n
}
