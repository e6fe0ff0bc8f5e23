package cache

import (
	"hash/maphash"
	"strings"
	"sync"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// A Position is a place in the log of invalidations. Positions grow; zero is
// before all of them.
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
			return true
		}
	}
	return m.all || m.matchName(name)
}

func (m *matcher) matchName(name string) bool {
	if m.url != "" {
		return m.url == name
	}
	if m.host == "" && !m.below {
		return false
	}
	slash := strings.IndexByte(name, '/')
	if slash < 0 {
		slash = len(name)
	}
	if m.host != "" && m.host != name[:slash] {
		if host, _ := fields.SplitPort(name[:slash]); !m.ports || host != m.host {
			return false
		}
	}
	rest, ok := strings.CutPrefix(name[slash:], m.prefix)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// tagSeed makes hashes of tags; they are compared within one process only.
var tagSeed = maphash.MakeSeed()

func hashTags(tags []string) []uint64 {
	if len(tags) == 0 {
		return nil
	}
	out := make([]uint64, 0, len(tags))
	seen := make(map[uint64]bool, len(tags))
	for _, t := range tags {
		if h := maphash.String(tagSeed, t); t != "" && !seen[h] {
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
