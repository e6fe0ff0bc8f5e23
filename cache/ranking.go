package cache

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

const (
	rankedNames  = 256              // counted apart
	rankedShown  = 10               //
	rankedWindow = 15 * time.Minute // what is shown is of the latest 15 to 30 minutes
	rankedLength = 160              // of a page's name, in bytes
)

// unstoredLately is the reason that says least: there was one before.
const unstoredLately = "pass: " + lately

// A ranking counts what comes up most often, of names that have no bound: pages. Its zero
// value is empty, and its methods are safe for concurrent use.
type ranking struct {
	mu     sync.Mutex
	since  time.Time // guarded by mu: when latest began
	latest *sketch   // guarded by mu; nil: nothing was counted yet
	before *sketch   // guarded by mu: of the window before; nil: nothing was counted
	began  time.Time // guarded by mu: when before began
}

// count counts a name, of which it keeps no hold, and remembers why it came up, of
// several reasons the latest that says more than unstoredLately.
func (r *ranking) count(now time.Time, name []byte, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked(now)
	if r.latest == nil {
		r.latest = &sketch{at: make(map[string]int)}
	}
	r.latest.count(name, why)
}

// turnLocked begins a window when it is time for one.
func (r *ranking) turnLocked(now time.Time) {
	switch age := now.Sub(r.since); {
	case age < rankedWindow:
		return
	case age < 2*rankedWindow:
		r.before, r.began = r.latest, r.since
	default: // that long ago
		r.before = nil
	}
	r.latest, r.since = nil, now
}

// report returns what came up most often, and since when.
func (r *ranking) report(now time.Time) (since time.Time, list []health.Ranked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked(now)
	found := make(map[string]health.Ranked)
	since = r.since
	if r.before != nil {
		since = r.began
		r.before.addTo(found)
	}
	r.latest.addTo(found)
	for _, of := range found {
		if of.Count > 1 { // what came up once, a link in somebody's mail perhaps, is nobody's business
			list = append(list, of)
		}
	}
	slices.SortFunc(list, func(a, b health.Ranked) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return since, list[:min(len(list), rankedShown)]
}

// A sketch counts names of any number in bounded memory (Space-Saving: Metwally, Agrawal
// and El Abbadi, Efficient computation of frequent and top-k elements, 2005): a new name
// takes the place, and the count, of that with the least. So none is counted too seldom,
// and by no more too often than over says.
type sketch struct {
	at     map[string]int // the place of each name
	names  []string
	whys   []string
	counts []uint64
	over   []uint64
}

func (s *sketch) count(name []byte, why string) {
	i, known := s.at[string(name)]
	switch {
	case known:
	case len(s.names) < rankedNames:
		i = len(s.names)
		s.names, s.whys, s.counts, s.over = append(s.names, string(name)), append(s.whys, ""), append(s.counts, 0), append(s.over, 0)
		s.at[s.names[i]] = i
	default:
		i = 0
		for j, n := range s.counts {
			if n < s.counts[i] {
				i = j
			}
		}
		delete(s.at, s.names[i])
		s.names[i], s.whys[i], s.over[i] = string(name), "", s.counts[i]
		s.at[s.names[i]] = i
	}
	s.counts[i]++
	if why != unstoredLately || s.whys[i] == "" {
		s.whys[i] = transit.Clip(why)
	}
}

// addTo adds how often each name has come up at least, and why. s may be nil.
func (s *sketch) addTo(found map[string]health.Ranked) {
	if s == nil {
		return
	}
	for i, name := range s.names {
		of := found[name]
		of.Name, of.Count = strings.ToValidUTF8(name, "?"), of.Count+s.counts[i]-s.over[i]
		if why := s.whys[i]; why != unstoredLately || of.Why == "" {
			of.Why = strings.ToValidUTF8(why, "?")
		}
		found[name] = of
	}
}

// rankings are those of a cache.
type rankings struct{ fetched, unstored ranking }

// A pageName is by what a page is told of: its host and path. Of a query only that there
// is one: they differ without end, and hold what is somebody's alone.
type pageName [rankedLength + len("...?...")]byte

// of returns the name of a page in n's room.
func (n *pageName) of(host, path string, query bool) []byte {
	b := appendLower(n[:0], host[:min(len(host), rankedLength)])
	if len(b)+len(path) <= rankedLength {
		b = append(b, path...)
	} else {
		b = append(append(b, path[:rankedLength-len(b)]...), "..."...)
	}
	if query {
		b = append(b, "?..."...)
	}
	return b
}

// fetch counts that the backend is asked for what is stored under url.
func (r *rankings) fetch(now time.Time, url string) {
	var n pageName
	path, _, query := strings.Cut(url, "?")
	r.fetched.count(now, n.of("", path, query), "")
}

// keep counts that what is stored under url was not, for the reason why.
func (r *rankings) keep(now time.Time, url, why string) {
	var n pageName
	path, _, query := strings.Cut(url, "?")
	r.unstored.count(now, n.of("", path, query), why)
}

// pass counts that the backend is asked for what is not to be stored, for the reason why.
func (r *rankings) pass(now time.Time, req *http.Request, why string) {
	var n pageName
	to := target.Of(req.URL)
	name := n.of(req.Host, to.Path, to.Mark)
	r.fetched.count(now, name, "")
	if req.Method == http.MethodGet || req.Method == http.MethodHead { // of others it is known
		r.unstored.count(now, name, why)
	}
}

// report adds what there is most of.
func (r *rankings) report(to *health.Report, now time.Time) {
	for name, of := range map[string]*ranking{"most fetched": &r.fetched, "most often not stored": &r.unstored} {
		if since, list := of.report(now); len(list) > 0 {
			to.Rankings = append(to.Rankings, health.Ranking{Name: name, Since: since, Items: list})
		}
	}
	slices.SortFunc(to.Rankings, func(a, b health.Ranking) int { return cmp.Compare(a.Name, b.Name) })
}
