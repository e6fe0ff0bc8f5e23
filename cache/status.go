package cache

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/transit"
)

// addStatus adds this cache's member to Cache-Status (RFC 9211). Those of
// caches nearer to the origin come first.
func (c *Cache) addStatus(header http.Header, params string) {
	lines := header["Cache-Status"]
	header["Cache-Status"] = append(lines[:len(lines):len(lines)], c.opts.Name+params)
}

// detail renders the detail parameter of Cache-Status.
func detail(why string) string {
	if why == "" {
		return ""
	}
	return "; detail=" + quote(why)
}

// quote makes a string of Structured Fields (RFC 9651, section 3.3.3).
func quote(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

func itoa(n int) string { return strconv.Itoa(n) }

// A note is what the log line says of the cache.
type note string

// LogValue implements [slog.LogValuer].
func (n note) LogValue() slog.Value { return slog.StringValue(string(n)) }

// Outcome implements [transit.Outcomer].
func (n note) Outcome() string {
	for _, what := range [...]string{"hit", "stale", "miss", "pass"} {
		if strings.HasPrefix(string(n), what) {
			return what
		}
	}
	return ""
}

// What is noted of every hit takes no memory.
var (
	noteHit   slog.LogValuer = note("hit")
	noteStale slog.LogValuer = note("stale")
	noteSick  slog.LogValuer = note("stale, the backend is sick")
)

// noteHit leaves for the log line that the answer is a hit.
func (s *site) noteHit(r *http.Request) {
	if rec, ok := transit.Lookup(r.Context()); ok {
		rec.Hit = true
		rec.Note("cache", noteHit)
	}
}

// note leaves n for the log line. What is served from the store alone makes no
// record: where there is none nobody logs.
func (s *site) note(r *http.Request, n slog.LogValuer) {
	if rec, ok := transit.Lookup(r.Context()); ok {
		rec.Note("cache", n)
	}
}
