package memo

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// A shelf is a page that keeps what it is given.
type shelf struct {
	mu   sync.Mutex
	kept map[transit.Memo]bool // guarded by mu
	gone bool                  // guarded by mu
}

func (*shelf) Open(time.Time, bool) (age, ttl int64, ok bool)            { return 1, 2, true }
func (*shelf) NotModified(transit.Conditions, time.Time) bool            { return false }
func (*shelf) Ignores(string) bool                                       { return true }
func (*shelf) Len() int64                                                { return 0 }
func (*shelf) AppendBody(b []byte, _ int) []byte                         { return b }
func (*shelf) Send(transit.Sink, int64, netip.Addr) (n int64, err error) { return 0, nil }

func (s *shelf) Keep(m transit.Memo, _ int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.kept[m] = true
	}
	return !s.gone
}

func (s *shelf) Forget(m transit.Memo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, m)
}

// clear ends all, as a purge does: with the lock held.
func (s *shelf) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.kept {
		m.End()
	}
	clear(s.kept)
	s.gone = true
}

func newShelf() *shelf { return &shelf{kept: make(map[transit.Memo]bool)} }

func TestTable(t *testing.T) {
	var table Table
	page := newShelf()
	key := func(i int) Key {
		return Key{HTTPS: i%2 == 0, Coding: uint8(i % 3), Host: fmt.Sprint("h", i%5), Target: fmt.Sprint("/", i/30)}
	}
	if k := key(1); table.Get(&k) != nil {
		t.Error("found in nothing")
	}
	const n = 3000
	for i := range n {
		table.Learn(&Memo{Key: key(i), Page: page})
	}
	if table.Len() != n || len(page.kept) != n {
		t.Fatalf("%d of %d, %d kept", table.Len(), n, len(page.kept))
	}
	for i := range n {
		k := key(i)
		m := table.Get(&k)
		if m == nil || m.Key != k {
			t.Fatalf("%v: %v", k, m)
		}
		if i%3 == 0 {
			m.End()
			m.End()
			if _, _, ok := m.Open(time.Now(), false); ok || table.Get(&k) != nil {
				t.Fatal("ended, and found or open")
			}
		}
	}
	k := key(1)
	old := table.Get(&k)
	if !table.Learn(&Memo{Key: k, Page: page}) || table.Get(&k) == old || page.kept[old] {
		t.Error("the one before is still there")
	}
	if _, _, ok := old.Open(time.Now(), false); ok {
		t.Error("the one before is open")
	}
	page.clear()
	if table.Len() != 0 || table.Learn(&Memo{Key: k, Page: page}) || table.Len() != 0 {
		t.Errorf("%d when all is gone", table.Len())
	}
}

// TestTableWhileItChanges: whoever looks up finds what is there under the right
// key or nothing, and nothing stays that has ended.
func TestTableWhileItChanges(t *testing.T) {
	var table Table
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				page := newShelf()
				for j := range 5 {
					k := Key{Host: fmt.Sprint(g, i%7), Target: fmt.Sprint(i, j)}
					table.Learn(&Memo{Key: k, Page: page})
					if m := table.Get(&k); m != nil && m.Key != k {
						t.Errorf("%v for %v", m.Key, k)
					}
				}
				if i%9 != 0 {
					page.clear()
				}
			}
		})
	}
	wg.Wait()
	if want := 4 * 56 * 5; table.Len() != want {
		t.Errorf("%d, want %d", table.Len(), want)
	}
}

func TestCompose(t *testing.T) {
	with := func(lines ...string) http.Header {
		h := http.Header{"X-Request-Id": {"r"}, "Content-Type": {"text/html"}, "Content-Length": {"5"}, "Age": {"3"}, "Cache-Status": {"Foretier; hit; ttl=57"}}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			h.Add(name, value)
		}
		return h
	}
	date := func(b []byte, _ time.Time) []byte { return append(b, "Date: now\r\n"...) }
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"plain": {with("B: 1", "A: 2", "B: 3"),
			"HTTP/1.1 200 OK\r\nA: 2\r\nAge: 10\r\nB: 1\r\nB: 3\r\nCache-Status: Foretier; hit; ttl=-20\r\nContent-Type: text/html\r\nX-Request-Id: id\r\nDate: now\r\nContent-Length: 5\r\n\r\n"},
		"dated": {with("Date: then"),
			"HTTP/1.1 200 OK\r\nAge: 10\r\nCache-Status: Foretier; hit; ttl=-20\r\nContent-Type: text/html\r\nDate: then\r\nX-Request-Id: id\r\nContent-Length: 5\r\n\r\n"},
		"behind another cache": {func() http.Header {
			h := with()
			h["Age"] = []string{"7", "3"}
			h["Cache-Status"] = []string{"a; hit; ttl=1", "b; hit; ttl=2"}
			return h
		}(), "HTTP/1.1 200 OK\r\nAge: 7\r\nAge: 10\r\nCache-Status: a; hit; ttl=1\r\nCache-Status: b; hit; ttl=-20\r\nContent-Type: text/html\r\nX-Request-Id: id\r\nDate: now\r\nContent-Length: 5\r\n\r\n"},
		"closing":           {with("Connection: close"), ""},
		"trailers":          {with("Trailer: A"), ""},
		"late trailers":     {with("Trailer:a: 1"), ""},
		"named twice":       {with("X-Request-Id: s"), ""},
		"of no name":        {http.Header{"Content-Type": {"a"}, "Content-Length": {"1"}, "Age": {"1"}, "Cache-Status": {"a; hit; ttl=1"}}, ""},
		"no hit":            {http.Header{"Content-Type": {"a"}, "Content-Length": {"1"}, "Age": {"1"}, "Cache-Status": {"a; fwd=miss"}, "X-Request-Id": {"r"}}, ""},
		"no age":            {http.Header{"X-Request-Id": {"r"}, "Content-Type": {"a"}, "Content-Length": {"1"}, "Cache-Status": {"a; hit; ttl=1"}}, ""},
		"with more to say":  {http.Header{"X-Request-Id": {"r"}, "Content-Type": {"a"}, "Content-Length": {"1"}, "Age": {"1"}, "Cache-Status": {`a; hit; ttl=1; detail="x"`}}, ""},
		"of no type":        {http.Header{"X-Request-Id": {"r"}, "Content-Length": {"1"}, "Age": {"1"}, "Cache-Status": {"a; hit; ttl=1"}}, ""},
		"of unknown length": {http.Header{"X-Request-Id": {"r"}, "Content-Type": {"a"}, "Age": {"1"}, "Cache-Status": {"a; hit; ttl=1"}}, ""},
	} {
		a, ok := Compose(http.StatusOK, c.header)
		if ok != (c.want != "") {
			t.Errorf("%s: %t", name, ok)
		} else if got := string(a.Append(nil, 10, -20, "id", time.Time{}, date)); ok && got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
	copied := http.Header{"Etag": {"a"}, "Age": {"3"}, "Cache-Status": {"Foretier; hit; ttl=57"}, "Date": {"then"}, "X-Request-Id": {"r"}}
	a, ok := Compose(http.StatusNotModified, copied)
	want := "HTTP/1.1 304 Not Modified\r\nAge: 10\r\nCache-Status: Foretier; hit; ttl=-20\r\nDate: then\r\nEtag: a\r\nX-Request-Id: id\r\n\r\n"
	if got := string(a.Append(nil, 10, -20, "id", time.Time{}, date)); !ok || got != want {
		t.Errorf("not modified: %t, got\n%s\nwant\n%s", ok, got, want)
	}
	copied.Set("Content-Length", "5")
	if _, ok := Compose(http.StatusNotModified, copied); ok {
		t.Error("not modified, with the length of a body")
	}
	if _, ok := Compose(http.StatusNotFound, with()); ok {
		t.Error("not found")
	}
}
