package balancer

import (
	"net/http"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
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

// tells reports whether the try's failure says something of how much its backend
// can do. Where the policy picks, what fails everywhere makes all look alike; but
// whoever picks could make any of them look slow, so several clients' must fail.
func (t *try) tells(now time.Time) bool { return !t.steered || t.several(now, &t.entry.blame) }

// begs notes that the backend has answered by a wish for patience, and reports
// whether that is for all: some say it to the one visitor who asks too much.
func (t *try) begs(now time.Time) bool {
	t.entry.begged.add(now, t.exchange.req, health.Erred)
	return !t.steered || t.several(now, &t.entry.begged)
}

// several reports whether what b remembers of late is of several clients.
func (t *try) several(now time.Time, b *blame) bool {
	clients, _, _ := b.weigh(now.Add(-t.exchange.pool.root().opts.Outlier.Window))
	return clients
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
