package balancer

import (
	"net/http"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// What soft evidence against a backend needs besides its number: one visitor who
// asks for what fails everywhere, at one backend after the other, must not take
// them out, and one broken page is no broken server.
const (
	blameClients = 3   // different ones; a visitor may well have two addresses
	blameURLs    = 2   // different ones
	erredShare   = 0.1 // of a pool, at most, is out for answers of 500: an application's fault, which it brings along
)

// A blame remembers whose requests failed of late at a backend.
type blame struct {
	mu      sync.Mutex
	last    [16]witness // guarded by mu
	next    int         // guarded by mu: the oldest of last
	unknown uint64      // guarded by mu: clients without an address, each of whom counts
}

type witness struct {
	at          int64 // in ns; 0: none
	client, url uint64
	erred       bool // it was answered, with a 500 or the like
}

// add remembers that r failed.
func (b *blame) add(now time.Time, r *http.Request, o health.Outcome) {
	f := witness{at: now.UnixNano(), url: hashString(r.URL.Path + "?" + r.URL.RawQuery), erred: o == health.Erred}
	if addr := clientOf(r); addr.IsValid() {
		f.client = hashString(addr.String())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.client == 0 { // nobody knows who asks, as under an http.Client
		b.unknown++
		f.client = b.unknown
	}
	b.last[b.next] = f
	b.next = (b.next + 1) % len(b.last)
}

// weigh reports whether what failed since then is of several clients and URLs,
// and whether most of it was answered.
func (b *blame) weigh(since time.Time) (several, erred bool) {
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
	return nc == blameClients && nu == blameURLs, 2*answered > n
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
