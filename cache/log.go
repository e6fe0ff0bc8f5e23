package cache

import (
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// A Position is a place in the log of invalidations: in that of [Options.Feed],
// which gateways share, or in the cache's own. Positions grow; zero is before all
// of them.
type Position uint64

// A matcher is an invalidation made ready.
type matcher struct {
	tags      []uint64
	url       string // a name: see nameOf
	host      string // in the form of a name's
	ports     bool   // host is meant on every port
	prefix    string // in the form of a name's, without the last slash
	below     bool   // prefix counts
	all, hard bool
}

// match reports whether the invalidation means e, whose name is given.
func (m *matcher) match(e *memory.Entry, name string) bool {
	for _, tag := range m.tags {
		if e.HasTag(tag) {
			return m.matchHost(name)
		}
	}
	return m.all || m.matchName(name) || m.url != "" && answers(e, name, m.url)
}

// spares reports whether e, whose name is given, may be stored although the invalidation
// came after the backend was asked for it. A soft one that means it makes it stale, from
// a time on.
func (m *matcher) spares(e *memory.Entry, name string, stale time.Time) bool {
	if !m.match(e, name) {
		return true
	}
	e.Purge(stale)
	return !m.hard
}

// matchName reports whether it means all that has a name, whatever its tags.
func (m *matcher) matchName(name string) bool {
	if m.url != "" {
		return m.url == name
	}
	if len(m.tags) > 0 || m.host == "" && !m.below || !m.matchHost(name) {
		return false
	}
	rest, ok := strings.CutPrefix(name[hostLen(name):], m.prefix)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// matchHost reports whether a name's host is meant.
func (m *matcher) matchHost(name string) bool {
	host := name[:hostLen(name)]
	if m.host == "" || m.host == host {
		return true
	}
	host, _ = fields.SplitPort(host)
	return m.ports && m.host == host
}

// hostLen returns how long the host is with which a name begins.
func hostLen(name string) int {
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		return slash
	}
	return len(name)
}

// hashTag returns the hash by which a tag is known, the same in every process: other
// gateways are told of it (FNV-1a, 64 bits). Who could bring about that two tags are
// one writes tags, and may purge what it likes by better means.
func hashTag(tag string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(tag) {
		h = (h ^ uint64(tag[i])) * 1099511628211
	}
	return h
}

func hashTags(tags []string) []uint64 {
	if len(tags) == 0 {
		return nil
	}
	out := make([]uint64, 0, len(tags))
	seen := make(map[uint64]bool, len(tags))
	for _, t := range tags {
		if h := hashTag(t); t != "" && !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}

// maxLog is how many invalidations are remembered for fetches that run.
const maxLog = 16 << 10

// A log holds the latest invalidations in order.
type log struct {
	mu      sync.RWMutex
	last    Position  // guarded by mu
	records []matcher // guarded by mu; the last one's position is last

	blind bool // it shows nothing to those who look back, for a test of tests
}

func (l *log) append(m matcher) Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == maxLog {
		l.records = append(l.records[:0:0], l.records[maxLog/2:]...)
	}
	l.records = append(l.records, m)
	l.last++
	return l.last
}

func (l *log) head() Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// since calls f for each invalidation after at until f returns false. What the
// log has forgotten counts as one of everything.
func (l *log) since(at Position, f func(*matcher) bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := int(l.last - at)
	if l.blind {
		return
	}
	if n > len(l.records) {
		f(&matcher{all: true, hard: true})
		return
	}
	for i := len(l.records) - n; i < len(l.records); i++ {
		if !f(&l.records[i]) {
			return
		}
	}
}

// overtaken reports whether an invalidation after at means e.
func (l *log) overtaken(at Position, e *memory.Entry) (yes bool) {
	name := nameOf(e.URL)
	l.since(at, func(m *matcher) bool {
		yes = m.match(e, name)
		return !yes
	})
	return yes
}

// names reports whether an invalidation after at means whatever is stored under
// a URL, of which more is not known yet.
func (l *log) names(at Position, url string) (yes bool) {
	name := nameOf(url)
	l.since(at, func(m *matcher) bool {
		yes = m.all || m.matchName(name)
		return !yes
	})
	return yes
}
