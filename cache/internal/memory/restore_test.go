package memory

import (
	"fmt"
	"slices"
	"testing"
)

// TestRestore: what is carried from one store to another, the hottest first, is as hot
// there, in the same chains, and makes no room for itself.
func TestRestore(t *testing.T) {
	from := New(1 << 20)
	for i := range 200 {
		url := fmt.Sprintf("h/%d", i)
		e := entry(url, 1000)
		from.Add(e, 0, none, always)
		for range i % 5 { // of the small queue
			from.has(url)
		}
	}
	var variants []*Entry
	for i := range 3 {
		e := entry("h/varies", 1000)
		e.More = &More{Vary: "A", Variant: fmt.Sprint(i)}
		from.Add(e, 0, none, always)
		variants = append(variants, e)
	}
	from.mu.Lock()
	for _, e := range []*Entry{variants[1], from.shard([]byte("h/0")).urls["h/0"], from.shard([]byte("h/4")).urls["h/4"]} {
		from.promoteLocked(e)
		e.freq.Store(2)
	}
	from.mu.Unlock()

	urls := from.ByHeat()
	if first := slices.Sorted(slices.Values(urls[:3])); !slices.Equal(first, []string{"h/0", "h/4", "h/varies"}) || len(urls) != 201 {
		t.Errorf("%d URLs, the hottest are %q", len(urls), first)
	}
	if last := from.shard([]byte(urls[200])).urls[urls[200]]; from.Heat(last) != 0 {
		t.Errorf("the coldest is %q, of heat %d", last.URL, from.Heat(last))
	}
	carry := func(max int64) (to *Store, stored int) {
		to = New(max)
		for _, url := range urls {
			for _, e := range from.Chain(url) {
				if ok, full := to.Restore(e.Whole(e.Chunks(), -1), from.Heat(e), none, always); ok {
					stored++
				} else if !full {
					t.Errorf("%q has room and is not stored", url)
				}
				from.Release(e)
			}
		}
		to.check(t)
		return to, stored
	}
	to, stored := carry(1 << 20)
	if stored != 203 {
		t.Errorf("%d are stored", stored)
	}
	if again := to.ByHeat(); !slices.Equal(slices.Sorted(slices.Values(again[:3])), slices.Sorted(slices.Values(urls[:3]))) {
		t.Errorf("the hottest are %q, and were %q", again[:3], urls[:3])
	}
	for _, url := range urls {
		a, b := from.Chain(url), to.Chain(url)
		for i := range a {
			if ha, hb := from.Heat(a[i]), to.Heat(b[i]); ha != hb || a[i].Head != b[i].Head {
				t.Errorf("%q: heat %d, was %d", url, hb, ha)
			}
			if _, was := a[i].Vary(); a[i].More != nil && b[i].More.Variant != was {
				t.Errorf("%q stands in another order", url)
			}
			from.Release(a[i])
			to.Release(b[i])
		}
	}
	if s := from.Stats(); s.Count != 203 || s.Loose != 0 {
		t.Errorf("what was carried: %+v", s)
	}

	to, stored = carry(64 << 10)
	if s := to.Stats(); stored < 40 || stored > 60 || s.Evictions != 0 || s.Count != stored {
		t.Errorf("%d are stored where there is room for some 50: %+v", stored, s)
	}
	if !to.has("h/0") || !to.has("h/varies") {
		t.Error("the hottest are not among them")
	}
}

// TestRestoreGivesWay: what was stored meanwhile is newer, and what is not valid any
// more is not stored.
func TestRestoreGivesWay(t *testing.T) {
	s := New(1 << 20)
	s.Add(entry("h/a", 10), 0, none, always)
	if ok, full := s.Restore(entry("h/a", 20), 7, all, always); ok || full {
		t.Errorf("stored %t, full %t", ok, full)
	}
	if ok, full := s.Restore(entry("h/b", 20), 7, none, func() bool { return false }); ok || full {
		t.Errorf("stored %t, full %t", ok, full)
	}
	if e := s.Get([]byte("h/a"), all); len(e.Body) != 10 {
		t.Error("the old one is in its place")
	}
	s.check(t)
}
