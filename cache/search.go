package cache

import (
	"bytes"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// A response may say by No-Vary-Search that URLs which differ in some parameters, or in
// their order, are one resource (draft-ietf-httpbis-no-vary-search). Of all URLs that a
// response answers one is in normal form, and only what was asked for under that answers
// the others: what a visitor adds to a URL is then in nobody else's page. So a request
// whose own URL has no fresh response is looked up, and fetched, under the normal form,
// as the latest response of its path has it. That is where to look, no more: what is
// found or fetched answers the request only if it says so itself, in the same words. Else
// the request is answered as if there were no such field.
//
// So it is, too, where rules above have read the query, or may have: the normal form might
// be for another one of them, of whose answers this one's say nothing.

const (
	noVarySearch = "No-Vary-Search"

	// maxFamily is how many responses of one path may answer for more than their own
	// URL: a purge by URL looks at each of them.
	maxFamily = 4096
)

// searches remembers what the responses of a path have said last. It is of fixed size,
// as markers are: a path may push another out, and the 257th text the first one, which
// costs a fetch.
type searches struct {
	paths [1 << 13]atomic.Uint64 // a hash of the path, but for the last byte: where its text is
	texts [1 << 8]atomic.Pointer[law.Search]

	mu    sync.Mutex
	where map[string]byte // guarded by mu: the place of each text
	next  byte            // guarded by mu: the place of the next one
}

// learn remembers a text.
func (s *searches) learn(url, text string) {
	at, ok := s.place(text)
	if !ok {
		return
	}
	path, _, _ := strings.Cut(url, "?")
	key := maphash.String(seed, path)
	s.paths[key%uint64(len(s.paths))].Store(key&^0xff | uint64(at))
}

// place returns where a text is, or false if it says nothing.
func (s *searches) place(text string) (byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.where[text]; ok {
		return at, true
	}
	said := law.ReadSearch(text)
	if said == nil {
		return 0, false
	}
	at := s.next
	s.next++
	if old := s.texts[at].Load(); old != nil {
		delete(s.where, old.Text)
	}
	if s.where == nil {
		s.where = make(map[string]byte)
	}
	s.where[said.Text] = at
	s.texts[at].Store(said)
	return at, true
}

// of returns what was learned of the path of a URL, or nil.
func (s *searches) of(url []byte) *law.Search {
	path, _, _ := bytes.Cut(url, []byte("?"))
	key := maphash.Bytes(seed, path)
	known := s.paths[key%uint64(len(s.paths))].Load()
	if known == 0 || (known^key)&^0xff != 0 {
		return nil
	}
	return s.texts[known&0xff].Load()
}

// lookAlike looks up the request under the URL that stands for its own, of which a, url,
// e and d are what is known. It returns the same for that URL if the request is to be
// answered under it.
func (s *site) lookAlike(a *ask, r *http.Request, url []byte, e *memory.Entry, d decision) ([]byte, *memory.Entry, decision) {
	if d.act == serveFresh {
		return url, e, d
	}
	said := s.cache.searches.of(url)
	if said == nil || s.byQuery(r) {
		return url, e, d
	}
	b := *a
	b.plan.Query.modulo = said
	normal := appendURL(nil, r, b.plan.Query)
	if bytes.Equal(normal, url) {
		return url, e, d
	}
	stranger := false
	found := s.cache.store.Get(normal, func(e *memory.Entry) bool {
		fits := b.fits(e)
		stranger = stranger || !fits && a.fits(e)
		return fits
	})
	alike := decide(b.situation(found, normal))
	switch {
	case alike.act == serveFresh:
		alike.detail = noVarySearch
	case e != nil || stranger:
		s.release(found)
		return url, e, d
	case alike.act == serveInGrace || alike.act == serveSick:
	case d.act != fetchWhole || alike.act != fetchWhole || a.detached(nil).personal():
		s.release(found)
		return url, e, d
	}
	s.release(e)
	*a = b
	return normal, found, alike
}

// byQuery reports whether the query may have had a say in which handler r has come to.
func (s *site) byQuery(r *http.Request) bool {
	if rec, ok := transit.Lookup(r.Context()); ok && rec.Choice != transit.NoChoice {
		return rec.Choice == transit.ByQuery
	}
	return s.cache.sites.Load() > 1 // whoever chooses among several is not known
}

// release releases what was found, if anything was.
func (s *site) release(e *memory.Entry) {
	if e != nil {
		s.cache.store.Release(e)
	}
}

// bent reports whether a is looked up under another URL than its own.
func (a *ask) bent() bool { return a.plan.Query.modulo != nil }

// itself returns a under its own URL.
func (a *ask) itself() *ask {
	b := *a
	b.found = [2]*memory.Entry{}
	b.plan.Query.modulo = nil
	b.url = string(appendURL(nil, b.r, b.plan.Query))
	b.reason = "uri-miss"
	return &b
}

// covers reports whether e, which is stored under the URL that a is looked up by,
// answers a's own.
func (a *ask) covers(e *memory.Entry) bool {
	return !a.bent() || e.Flags&memory.Spread != 0 && e.Field(noVarySearch) == a.plan.Query.modulo.Text
}

// family returns the tag of all that answers for more than its own URL, of the path of
// a name.
func family(name string) uint64 {
	path, _, _ := strings.Cut(name, "?")
	return hashTag("no-vary-search of " + path)
}

// spreads reports whether a response says by its header, of one line, that it answers for
// more than its own URL.
func (a *ask) spreads(header http.Header) bool {
	lines := header[noVarySearch]
	return len(lines) > 0 && !a.site.cache.opts.IgnoreNoVarySearch && law.ReadSearch(lines[0]) != nil
}

// admit has e, which has a name and is about to be stored, answer for its own URL alone
// if there are too many of its path already that do not.
func (c *Cache) admit(e *memory.Entry, name string) {
	if e.Flags&memory.Spread == 0 {
		return
	}
	of := family(name)
	if c.store.Tagged(of) < maxFamily {
		return
	}
	e.Flags &^= memory.Spread
	e.More.Tags = slices.DeleteFunc(slices.Clone(e.More.Tags), func(tag uint64) bool { return tag == of })
}

// learn remembers what e, which has been stored, says.
func (c *Cache) learn(e *memory.Entry) {
	if e.Flags&memory.Spread != 0 && !c.opts.IgnoreNoVarySearch {
		c.searches.learn(e.URL, e.Field(noVarySearch))
	}
}

// answers reports whether e, whose name is given, answers what has another name.
func answers(e *memory.Entry, name, other string) bool {
	if e.Flags&memory.Spread == 0 {
		return false
	}
	path, query, _ := strings.Cut(name, "?")
	otherPath, otherQuery, _ := strings.Cut(other, "?")
	if path != otherPath {
		return false
	}
	said := law.ReadSearch(e.Field(noVarySearch))
	return said.Normal(query) == said.Normal(otherQuery)
}
