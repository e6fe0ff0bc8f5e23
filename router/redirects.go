package router

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

const (
	maxRedirects = 1_000_000
	maxHops      = 10 // of redirects that lead to one another; browsers follow 20
)

// Redirects are many redirects, each from one path: those of a shop that has moved. They
// are a [Matcher], which matches what is redirected, and the handler that redirects it:
//
//	moved, err := router.ReadRedirects(file)
//	...
//	router.Rule{Name: "moved", When: moved, To: moved}
//
// It reaches no backend, so every [Claim] holds for it. Redirects are immutable and safe
// for concurrent use; [Router.Update] takes others up. A question costs the same however
// many there are, and 100,000 take some 20 MB.
type Redirects struct {
	noParams
	words          string
	moves          []move
	from           map[place]int32 // index of moves
	hosts, queries bool            // there are some that ask for one
}

// A place is what is asked for.
type place struct {
	host  string // as [fields.Hostname] has it; "": any
	path  string // canonical
	query string // without its question mark; "": any
}

// A move is where a place has gone.
type move struct {
	to     string
	status int
	line   int
	asked  bool // the place has a query
}

// ReadRedirects reads a table of redirects, CSV as in RFC 4180, one a line:
//
//	/old.html,/new
//	www.shop.example/sale,https://shop.example/offers,302
//	/index.php?cl=details&anid=42,/product/42
//
// The first column is a path, perhaps behind a host for which alone it counts, perhaps
// with the query that has to be there to the byte. Paths are compared as rules compare
// them, decoded, in their letters' case; a query that is there and not named is appended to
// a target that has none. The second is a path of the same host, or a URL. The third is the
// status, 301, 302, 303, 307 or 308; without it, 301. A line that begins with # is left
// out, and so is a first one of "from,to" or "from,to,status".
//
// Errors name the line and what would be right. Errors too are: two lines for one place, a
// redirect that leads back to where it began or through more than ten others, and more
// than a million lines. A table of none is one that matches nothing.
func ReadRedirects(r io.Reader) (*Redirects, error) { return readRedirects(r, maxRedirects) }

// readRedirects reads up to most of them.
func readRedirects(r io.Reader, most int) (*Redirects, error) {
	digest := crc32.NewIEEE()
	in := csv.NewReader(io.TeeReader(r, digest))
	in.Comment, in.FieldsPerRecord, in.TrimLeadingSpace, in.ReuseRecord = '#', -1, true, true
	out := &reader{Redirects: &Redirects{from: make(map[place]int32)}, most: most}
	for first := true; ; first = false {
		row, err := in.Read()
		if err == io.EOF {
			break
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("router: line %d: %w: want /from,/to", bad.Line, bad.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("router: %w", err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff") // as spreadsheets write it
			if strings.EqualFold(row[0], "from") {
				continue
			}
		}
		line, _ := in.FieldPos(0)
		if err := out.add(row, line); err != nil {
			return nil, fmt.Errorf("router: line %d: %w", line, err)
		}
	}
	out.words = fmt.Sprintf("Redirects(%d, crc32 %08x)", len(out.moves), digest.Sum32())
	if err := out.circle(); err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	return out.Redirects, nil
}

// Len is how many redirects there are.
func (m *Redirects) Len() int { return len(m.moves) }

// A reader is a table that is being read.
type reader struct {
	*Redirects
	ways []way // of moves
	most int   // of them
}

// A way is one redirect for who follows it.
type way struct {
	host string // of the place where it begins
	to   place  // whose host is "" if it is the same
}

func (m *reader) add(row []string, line int) error {
	status := http.StatusMovedPermanently
	switch {
	case len(m.moves) == m.most:
		return fmt.Errorf("want %d redirects at most", m.most)
	case len(row) == 1 && strings.Contains(row[0], ";"):
		return fmt.Errorf("%q has no comma: want /from,/to with commas, not semicolons", transit.Clip(row[0]))
	case len(row) < 2 || len(row) > 3:
		return fmt.Errorf("%d columns: want /from,/to or /from,/to,301", len(row))
	case len(row) == 3 && strings.TrimSpace(row[2]) != "":
		n, err := strconv.Atoi(strings.TrimSpace(row[2]))
		if err != nil || !slices.Contains([]int{301, 302, 303, 307, 308}, n) {
			return fmt.Errorf("%q is no status of a redirect: want 301, 302, 303, 307 or 308", transit.Clip(row[2]))
		}
		status = n
	}
	from, err := parsePlace(strings.TrimSpace(row[0]))
	if err != nil {
		return err
	}
	to, leads, err := parseTarget(strings.TrimSpace(row[1]))
	if err != nil {
		return err
	}
	if i, twice := m.from[from]; twice {
		return fmt.Errorf("%q is in line %d, too: want it once", transit.Clip(row[0]), m.moves[i].line)
	}
	m.from[from] = int32(len(m.moves))
	m.moves = append(m.moves, move{to, status, line, from.query != ""})
	m.ways = append(m.ways, way{from.host, leads})
	m.hosts, m.queries = m.hosts || from.host != "", m.queries || from.query != ""
	return nil
}

// parsePlace reads /path, host/path, https://host/path, each with a query perhaps.
func parsePlace(s string) (p place, err error) {
	rest, secure := strings.CutPrefix(s, "https://")
	if !secure {
		rest = strings.TrimPrefix(s, "http://")
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || strings.Contains(rest, "#") {
		return p, fmt.Errorf("%q is no path: want one such as /old, or shop.example/old for one host", transit.Clip(s))
	}
	host, path := rest[:slash], rest[slash:]
	if host != "" {
		if _, port := fields.SplitPort(host); !fields.Host(host) || port != "" {
			return p, fmt.Errorf("%q: want a host without port before the path, such as shop.example/old", transit.Clip(s))
		}
		p.host = fields.Hostname(host)
	}
	path, query, _ := strings.Cut(path, "?")
	p.query = target.EscapeQuery(query)
	rd := target.Read(target.Escape(path))
	switch {
	case rd.Refusal != "":
		return p, fmt.Errorf("the path of %q %s: want one that visitors can ask for", transit.Clip(s), rd.Refusal)
	case strings.Contains(path, ";"):
		return p, fmt.Errorf("%q: a path is compared without its parameters: want it without ;", transit.Clip(s))
	}
	p.path = rd.Canonical
	return p, nil
}

// parseTarget reads where a redirect leads: as it is sent, and as it will be asked for.
func parseTarget(s string) (to string, leads place, err error) {
	u, err := url.Parse(s)
	local := strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
	if err != nil || !local && (u.Scheme != "http" && u.Scheme != "https" || !fields.Host(u.Host) || u.User != nil) ||
		strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return "", leads, fmt.Errorf("%q is neither a path nor a URL: want one such as /new or https://shop.example/new", transit.Clip(s))
	}
	t := target.Of(u)
	if to = t.Location(); u.Fragment != "" {
		to += "#" + target.EscapeQuery(u.EscapedFragment())
	}
	if !local {
		to, leads.host = u.Scheme+"://"+u.Host+to, fields.Hostname(u.Host)
	}
	leads.path = target.Read(cmp.Or(target.Sent(u), "/")).Canonical
	leads.query = target.EscapeQuery(t.Query)
	return to, leads, nil
}

// circle says which redirect leads back to itself, or through too many.
func (m *reader) circle() error {
	for first, way := range m.ways {
		host, via := way.host, first
		for hops := 0; ; hops++ {
			to := m.ways[via].to
			host = cmp.Or(to.host, host)
			next, ok := m.look(host, to.path, to.query)
			if !ok {
				break
			}
			switch {
			case int(next) == first:
				return fmt.Errorf("line %d: it leads back to where it began, by line %d: want a target that is not redirected", m.moves[first].line, m.moves[via].line)
			case hops == maxHops:
				return fmt.Errorf("line %d: it leads through more than %d others: want the last one's target", m.moves[first].line, maxHops)
			}
			via = int(next)
		}
	}
	return nil
}

// look finds the redirect of a place: one for the host before one for all, and one for the
// query before one for any.
func (m *Redirects) look(host, path, query string) (i int32, ok bool) {
	for _, h := range [...]string{host, ""} {
		if h != "" && !m.hosts {
			continue
		}
		if query != "" && m.queries {
			if i, ok = m.from[place{h, path, query}]; ok {
				return i, true
			}
		}
		if i, ok = m.from[place{h, path, ""}]; ok || h == "" {
			return i, ok
		}
	}
	return 0, false
}

// find returns the redirect of one reading of a request's path.
func (m *Redirects) find(v *view) (i int32, ok bool) {
	if v.rd.Refusal != "" {
		return 0, false
	}
	host, query := "", ""
	if m.hosts {
		host = v.host()
	}
	if m.queries {
		query = target.EscapeQuery(target.Of(v.r.URL).Query)
	}
	return m.look(host, v.path, query)
}

func (m *Redirects) match(v *view) bool {
	_, ok := m.find(v)
	return ok
}

// Match implements [Matcher]: it reports whether r is redirected.
func (m *Redirects) Match(r *http.Request) bool { return matchRequest(m, r) }

// String implements [Matcher].
func (m *Redirects) String() string { return m.words }

func (m *Redirects) check() error { return nil }

func (m *Redirects) tell(d *proof.Space) {
	d.AddOpen(m.words, m.words+" has none for it", m.words+" has one for it")
}

func (m *Redirects) says(d *proof.Space, _ *proof.Class) proof.Formula { return d.Maybe(m.words) }

// location returns where r is sent, and with which status; 0: nowhere.
func (m *Redirects) location(r *http.Request) (to string, status int) {
	rd := readRequest(r)
	i, ok := m.find(&view{r: r, rd: &rd, path: rd.Canonical})
	if !ok {
		return "", 0
	}
	move := m.moves[i]
	if query := target.Of(r.URL).Query; query != "" && !move.asked && !strings.ContainsAny(move.to, "?#") {
		return move.to + "?" + target.EscapeQuery(query), move.status
	}
	return move.to, move.status
}

// ServeHTTP implements [http.Handler]. What is not redirected is answered 404.
func (m *Redirects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, status := m.location(r)
	if status == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

// Wraps returns nothing: the answer is the tier's own.
func (m *Redirects) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (m *Redirects) Explain(r *http.Request) health.Decision {
	to, status := m.location(r)
	if status == 0 {
		return health.Decision{Part: "redirects", Verdict: "404"}
	}
	return health.Decision{Part: "redirects", Verdict: strconv.Itoa(status), Why: "to " + to}
}
