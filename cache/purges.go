package cache

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

const (
	keepPurges = 50               // how many a report shows
	together   = 10 * time.Second // within which purges of one kind are told as one
)

// purges remembers what was purged, for whoever looks at a report. Its zero value is
// empty, and its methods are safe for concurrent use.
type purges struct {
	mu   sync.Mutex
	list []purged // guarded by mu; the latest last
}

// purged is a purge, and what came right behind it of the same kind by the same client:
// a shop sends hundreds for one import, which must not hide all that was before.
type purged struct {
	at        time.Time
	by, kind  string
	what      string // of the first
	more      int
	responses int
}

// note remembers a purge by a client, or by who has no name, which has hit so many
// responses.
func (l *purges) note(now time.Time, by string, o order, responses int) {
	kind, what := o.named()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.list); n > 0 {
		if last := &l.list[n-1]; last.by == by && last.kind == kind && now.Sub(last.at) < together {
			last.more++
			last.responses += responses
			return
		}
	}
	if len(l.list) == keepPurges {
		l.list = l.list[1:]
	}
	l.list = append(l.list, purged{now, by, kind, what, 0, responses})
}

// events tells what was purged, the oldest first.
func (l *purges) events() []health.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]health.Event, len(l.list))
	for i, p := range l.list {
		out[i] = health.Event{Time: p.at, Text: p.String()}
	}
	return out
}

// String is p as a report has it.
func (p *purged) String() string {
	var b strings.Builder
	b.WriteString(p.kind)
	if p.what != "" {
		b.WriteString(" " + p.what)
	}
	if p.more > 0 {
		fmt.Fprintf(&b, " and %d more", p.more)
	}
	if p.by != "" {
		b.WriteString(" by " + p.by)
	}
	fmt.Fprintf(&b, ", responses: %d", p.responses)
	return b.String()
}

// named tells what o is, and what it names.
func (o *order) named() (kind, what string) {
	kind = "soft purge"
	if o.hard {
		kind = "purge"
	}
	switch {
	case o.url != "":
		return kind + " of the URL", transit.Clip(o.url)
	case len(o.words) > 0:
		return kind + " of the tag", transit.Clip(strings.Join(o.words, ", "))
	case len(o.tags) > 0: // of another gateway, which sends no words
		return kind + " by tag", ""
	case o.all:
		return kind + " of all", ""
	case o.host == "":
		return kind + " of the path", transit.Clip(o.prefix)
	}
	return kind + " of the host", transit.Clip(o.host + o.prefix)
}
