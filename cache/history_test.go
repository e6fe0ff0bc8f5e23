package cache

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/foretier/foretier/cache/internal/memory"
)

// means reports whether a history has something after a position that means a URL.
func (h *history) means(at Position, url string) (yes bool) {
	return h.meansEntry(at, &memory.Entry{URL: url})
}

func (h *history) meansEntry(at Position, e *memory.Entry) (yes bool) {
	name := nameOf(e.URL)
	h.since(at, e, name, func(m *matcher) bool {
		yes = m.match(e, name)
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
		want(10, url, true) // it is not back yet
	}
	h.add(11, matcher{url: "other/"}, 0)
	h.add(12, matcher{url: "sent/"}, list["sent/"].id)
	want(11, "sent/", true)
	want(12, "sent/", false)
	want(12, "dropped/", true)
	want(12, "second/", true)
	want(13, "a/", true)                               // it is still to come
	h.add(12, matcher{url: "sent/"}, list["sent/"].id) // sent twice
	h.add(13, matcher{url: "second/"}, list["second/"].id)
	want(12, "dropped/", true) // over with what came behind it
	want(13, "dropped/", false)
	want(13, "second/", false)
	want(13, "unsent/", true)

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
		if len(h.at) > maxHistory {
			t.Fatalf("%d entries", len(h.at))
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
	if !h.means(2*maxHistory, "anything/") {
		t.Error("what is forgotten of its own counts for nothing")
	}
	last := h.mine(matcher{url: "x/"})
	last.order.Store(1 << 40)
	h.add(3*maxHistory, matcher{url: "x/"}, last.id)
	if n := len(h.own); n != 0 || h.means(3*maxHistory, "anything/") {
		t.Errorf("%d are not over", n)
	}
}

// TestHistoryIsALog: what it says of an entry is what one matcher after another says.
func TestHistoryIsALog(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	hosts := []string{"a.example", "a.example:8080", "b.example"}
	draw := func() (m matcher) {
		switch m.hard = r.IntN(2) == 0; r.IntN(6) {
		case 0:
			m.url = hosts[r.IntN(3)] + "/" + string(rune('a'+r.IntN(3)))
		case 1, 2, 3:
			m.tags = []uint64{r.Uint64N(4), 10 + r.Uint64N(4)}
			if r.IntN(2) == 0 {
				m.host = hosts[r.IntN(3)]
				m.ports = !strings.Contains(m.host, ":")
			}
		case 4:
			m.host = hosts[r.IntN(3)]
			m.ports = !strings.Contains(m.host, ":")
		default:
			m.prefix, m.below = "/"+string(rune('a'+r.IntN(3))), true
		}
		return m
	}
	for range 2000 {
		h := newHistory()
		begin := Position(r.IntN(5))
		h.begin(begin)
		var all []placed
		for i := range Position(r.IntN(10)) {
			all = append(all, placed{begin + i + 1, draw()})
		}
		older := r.IntN(len(all) + 1)
		if older > 0 { // some of it is learned of later
			h.begin(all[older-1].at)
		}
		for _, p := range all[older:] {
			h.add(p.at, p.matcher, 0)
		}
		if older > 0 {
			h.before(begin, all[:older], all[older-1].at)
		}
		if n := r.IntN(4); n > 0 && n < len(all) {
			h.forgetLocked(n)
			all, begin = all[n:], all[n-1].at
		}
		for range 20 {
			e := &memory.Entry{URL: hosts[r.IntN(3)] + "/" + string(rune('a'+r.IntN(3)))}
			if r.IntN(2) == 0 {
				e.More = &memory.More{Tags: []uint64{r.Uint64N(4), 20}}
			}
			at := Position(r.IntN(15))
			var soft, hard bool
			for _, p := range all {
				if p.at > at && p.match(e, e.URL) {
					soft, hard = soft || !p.hard, hard || p.hard
				}
			}
			soft = soft || at < begin || at > h.to
			var gotSoft, gotHard bool
			h.since(at, e, e.URL, func(m *matcher) bool {
				if m.match(e, e.URL) {
					gotSoft, gotHard = gotSoft || !m.hard, gotHard || m.hard
				}
				return true
			})
			if at < begin && gotSoft && gotHard {
				continue // it may know more than it has to
			}
			if gotSoft != soft || gotHard != hard {
				t.Fatalf("%+v after %d of %+v from %d: soft %t, hard %t", e, at, all, begin, gotSoft, gotHard)
			}
		}
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
		h.since(maxHistory/2, e, e.URL, func(m *matcher) bool { return !m.match(e, e.URL) })
	}
}
