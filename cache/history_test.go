package cache

import (
	"testing"

	"github.com/foretier/foretier/cache/internal/memory"
)

// means reports whether a history has something after a position that means a URL.
func (h *history) means(at Position, url string) (yes bool) {
	h.since(at, func(m *matcher) bool {
		yes = m.match(&memory.Entry{URL: url}, url)
		return !yes
	})
	return yes
}

func TestHistoryOfOwn(t *testing.T) {
	h := newHistory()
	if !h.means(1<<40, "a/") {
		t.Error("what is not known counts for nothing")
	}
	h.begin(10)
	want := func(at Position, url string, want bool) {
		t.Helper()
		if got := h.means(at, url); got != want {
			t.Errorf("%s after %d: %t", url, at, got)
		}
	}
	want(10, "a/", false)
	want(9, "a/", true)

	list := make(map[string]*own)
	for i, url := range []string{"sent/", "dropped/", "second/", "unsent/"} {
		o := h.mine(matcher{url: url})
		list[url] = o
		if url != "unsent/" {
			o.order.Store(uint64(i + 1))
		}
		want(100, url, true) // it is not back yet
	}
	h.add(11, matcher{url: "other/"}, 0)
	h.add(12, matcher{url: "sent/"}, list["sent/"].id)
	want(11, "sent/", true)
	want(12, "sent/", false)
	want(12, "dropped/", true)
	want(100, "second/", true)
	h.add(12, matcher{url: "sent/"}, list["sent/"].id) // sent twice
	h.add(13, matcher{url: "second/"}, list["second/"].id)
	want(12, "dropped/", true) // over with what came behind it
	want(13, "dropped/", false)
	want(13, "second/", false)
	want(100, "unsent/", true)

	h.before(5, []placed{{6, matcher{url: "older/"}}}, 10)
	want(5, "older/", true)
	want(6, "older/", false)
	want(6, "a/", false)
	want(4, "a/", true)
	h.before(1, nil, 10) // of another beginning
	want(4, "a/", true)
}

func TestHistoryIsBounded(t *testing.T) {
	h := newHistory()
	h.begin(0)
	for i := range Position(2 * maxHistory) {
		h.add(i+1, matcher{url: "x/"}, 0)
		if len(h.records) > maxHistory {
			t.Fatalf("%d records", len(h.records))
		}
	}
	if h.means(2*maxHistory-maxHistory/2, "y/") {
		t.Error("what is known is not")
	}
	if !h.means(2*maxHistory-maxHistory-1, "y/") {
		t.Error("what is forgotten counts for nothing")
	}

	for i := range 3 * maxLog {
		h.mine(matcher{url: "x/"}).order.Store(uint64(i + 1))
		if len(h.own) > maxLog {
			t.Fatalf("%d own", len(h.own))
		}
	}
	if !h.means(1<<40, "anything/") {
		t.Error("what is forgotten of its own counts for nothing")
	}
	last := h.mine(matcher{url: "x/"})
	last.order.Store(1 << 40)
	h.add(3*maxHistory, matcher{url: "x/"}, last.id)
	if n := len(h.own); n != 0 || h.means(3*maxHistory, "anything/") {
		t.Errorf("%d are not over", n)
	}
}

// BenchmarkHistory looks for what has overtaken one that is half of all that is
// remembered old.
func BenchmarkHistory(b *testing.B) {
	h := newHistory()
	h.begin(0)
	for i := range Position(maxHistory) {
		h.add(i+1, matcher{tags: []uint64{uint64(i), uint64(i) * 7}, hard: true}, 0)
	}
	e := &memory.Entry{URL: "shop.example/a", More: &memory.More{Tags: []uint64{1<<60 + 1, 1<<60 + 2, 1<<60 + 3, 1<<60 + 4}}}
	b.ReportAllocs()
	for b.Loop() {
		h.since(maxHistory/2, func(m *matcher) bool { return !m.match(e, e.URL) })
	}
}
