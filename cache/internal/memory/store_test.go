package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func entry(url string, size int, tags ...uint64) *Entry {
	e := &Entry{URL: url, Head: "Etag: \"x\"\r\n", Status: 200, Body: make([]byte, size)}
	if len(tags) > 0 {
		e.More = &More{Tags: tags}
	}
	return e
}

func all(*Entry) bool  { return true }
func none(*Entry) bool { return false }
func always() bool     { return true }
func (s *Store) has(url string) bool {
	e := s.Get([]byte(url), all)
	if e != nil {
		s.Release(e)
	}
	return e != nil
}

// check compares every figure with what is really there.
func (s *Store) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var held, formBytes int64
	count, tagged, forms := 0, 0, 0
	for i := range s.shards {
		for url, e := range s.shards[i].urls {
			for ; e != nil; e = e.next {
				if e.URL != url {
					t.Errorf("%q stands under %q", e.URL, url)
				}
				if e.queue == nowhere {
					t.Errorf("%q is in no queue", url)
				}
				held += e.size
				count++
				for i := range MaxForms {
					if f := e.Form(i); f != nil {
						forms++
						formBytes += f.formCost()
					}
				}
				if e.More != nil {
					tagged += len(e.More.Tags)
				}
			}
		}
	}
	if held != s.held || count != s.count || held != s.small.bytes+s.main.bytes {
		t.Errorf("held %d, counted %d, queues %d; %d entries, counted %d", held, s.held, s.small.bytes+s.main.bytes, count, s.count)
	}
	if forms != s.forms || formBytes != s.formBytes {
		t.Errorf("%d forms of %d bytes, counted %d of %d", forms, formBytes, s.forms, s.formBytes)
	}
	if s.used > s.max {
		t.Errorf("used %d of %d", s.used, s.max)
	}
	for tag, list := range s.tags {
		tagged -= len(list)
		for i, e := range list {
			ok := false
			for j, x := range e.More.Tags {
				ok = ok || x == tag && int(e.More.places[j]) == i
			}
			if !ok {
				t.Errorf("tag %d: %q does not know its place %d", tag, e.URL, i)
			}
		}
	}
	if tagged != 0 {
		t.Errorf("%d more tags on entries than in the index", tagged)
	}
}

func TestBoundedUnderEverything(t *testing.T) {
	s := New(1 << 20)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				url := fmt.Sprint("a.example/", r.IntN(400))
				switch r.IntN(9) {
				case 8:
					if e := s.Get([]byte(url), all); e != nil {
						n := int64(r.IntN(4000))
						if s.Reserve(n) {
							s.AddForm(e, r.IntN(MaxForms), e.MakeForm("Content-Encoding: br\r\n", make([]byte, n)), n)
						}
						s.Release(e)
					}
				case 0:
					s.ByTag(uint64(r.IntN(20)), func(*Entry) bool { return r.IntN(2) == 0 })
				case 1:
					s.ByURL(url, all)
				case 2:
					if n := int64(r.IntN(100000)); s.Reserve(n) {
						s.Unreserve(n)
					}
				case 3:
					if e := s.Get([]byte(url), all); e != nil {
						s.Remove(e)
						s.Remove(e) // twice does no harm
						s.Release(e)
					}
				default:
					if !s.has(url) {
						tags := []uint64{uint64(r.IntN(20)), 20 + uint64(r.IntN(20))}
						s.Add(entry(url, r.IntN(20000), tags...), 0, all, always)
					}
				}
			}
		})
	}
	wg.Wait()
	s.check(t)
	s.Each(all)
	s.check(t)
	if st := s.Stats(); st.Used != 0 || st.Count != 0 || st.Tags != 0 {
		t.Errorf("after everything was removed: %+v", st)
	}
}

func TestReadersHoldWhatTheyRead(t *testing.T) {
	s := New(1 << 20)
	s.Add(entry("a", 500<<10), 0, none, always)
	e := s.Get([]byte("a"), all)
	s.Remove(e)
	if s.has("a") {
		t.Error("removed and still there")
	}
	if used := s.Stats().Used; used < 500<<10 {
		t.Errorf("used %d while it is read", used)
	}
	if s.Reserve(600 << 10) {
		t.Error("room where somebody still reads")
	}
	s.Release(e)
	if used := s.Stats().Used; used != 0 {
		t.Errorf("used %d after it was read", used)
	}
}

func TestVariantsAreCapped(t *testing.T) {
	s := New(1 << 20)
	for i := range 2 * maxVariants {
		e := entry("a", 1)
		e.More = &More{Vary: "Foo", Variant: fmt.Sprint(i)}
		s.Add(e, 0, none, always)
	}
	if n := s.Stats().Count; n != maxVariants {
		t.Errorf("%d variants", n)
	}
	variant := func(want string) bool {
		e := s.Get([]byte("a"), func(e *Entry) bool { return e.More.Variant == want })
		if e != nil {
			s.Release(e)
		}
		return e != nil
	}
	if variant("0") || !variant(fmt.Sprint(2*maxVariants-1)) {
		t.Error("the oldest must go")
	}
	s.check(t)
}

func TestAddReplacesAndAsksLast(t *testing.T) {
	s := New(1 << 20)
	s.Add(entry("a", 10), 0, none, always)
	s.Add(entry("a", 20), 0, all, always)
	if n := s.Stats().Count; n != 1 {
		t.Errorf("%d entries after a replacement", n)
	}
	if s.Add(entry("b", 10), 0, all, func() bool { return false }) || s.has("b") {
		t.Error("stored though invalid")
	}
	if s.Add(entry("c", 2<<20), 0, all, always) || s.has("c") {
		t.Error("stored though larger than everything")
	}
	s.check(t)
}

func TestScanDoesNotFlush(t *testing.T) {
	s := New(1 << 20)
	for i := range 100 {
		s.Add(entry(fmt.Sprint("hot", i), 4000), 0, none, always)
	}
	for range 3 {
		for i := range 100 {
			s.has(fmt.Sprint("hot", i))
		}
	}
	for i := range 10000 {
		s.Add(entry(fmt.Sprint("scan", i), 4000), 0, none, always)
	}
	left := 0
	for i := range 100 {
		if s.has(fmt.Sprint("hot", i)) {
			left++
		}
	}
	if left < 95 {
		t.Errorf("%d of 100 hot entries survived a scan", left)
	}
	s.check(t)
}

func TestRefreshIsGivenOnce(t *testing.T) {
	e, now := entry("a", 1), time.Unix(100, 0)
	if !e.Refresh(now, time.Minute) || e.Refresh(now, time.Minute) {
		t.Error("not exactly once")
	}
	if e.Resting(now) {
		t.Error("resting while it is being refreshed")
	}
	e.Rest(now.Add(time.Second))
	if !e.Resting(now) || e.Resting(now.Add(time.Second)) {
		t.Error("not resting for a second")
	}
	if e.Refresh(now, time.Minute) || !e.Refresh(now.Add(time.Second), time.Minute) {
		t.Error("not after the rest")
	}
	e.Refreshed()
	if !e.Refresh(now, time.Minute) {
		t.Error("not at once")
	}
}

// lru is what every policy has to beat.
type lru struct {
	max, used int64
	order     []string // oldest first
	sizes     map[string]int
}

func (l *lru) hit(url string, size int) bool {
	_, hit := l.sizes[url]
	if hit {
		i := slices.Index(l.order, url)
		l.order = slices.Delete(l.order, i, i+1)
	} else {
		l.sizes[url] = size
		l.used += int64(size)
	}
	l.order = append(l.order, url)
	for l.used > l.max {
		l.used -= int64(l.sizes[l.order[0]])
		delete(l.sizes, l.order[0])
		l.order = l.order[1:]
	}
	return hit
}

// Pages by popularity with a crawler in between, as a shop has them; real
// traces are replayed by cache/benchmarks.
func TestHitsMoreThanLRU(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const pages = 2000
	zipf := rand.NewZipf(random, 1.05, 10, pages-1)
	for _, share := range []int{50, 20, 10, 4} {
		var footprint int64
		size := func(n int) int { return 500 + n*2654435%8000 }
		for n := range pages {
			footprint += int64(size(n))
		}
		s := New(footprint / int64(share))
		l := &lru{max: s.max, sizes: make(map[string]int)}
		ours, theirs, crawler := 0, 0, 0
		for range 30_000 {
			n := int(zipf.Uint64())
			if random.IntN(5) == 0 {
				n = crawler % pages
				crawler++
			}
			url := fmt.Sprint(n)
			if s.has(url) {
				ours++
			} else {
				s.Add(entry(url, size(n)), 0, all, always)
			}
			if l.hit(url, size(n)) {
				theirs++
			}
		}
		if ours < theirs*105/100 {
			t.Errorf("1/%d of the footprint: %d hits, LRU %d", share, ours, theirs)
		}
		s.check(t)
	}
}

// Pages that are asked for once more, later than a small queue of fixed size
// would hold them, and then no more: the queue grows for them, and shrinks
// again for popular pages with a crawler in between.
func TestSmallQueueAdapts(t *testing.T) {
	const size, room = 1000, 1000 // entries that fit, about
	s := New(room * entry("x", size).cost())
	ask := func(n int) bool {
		url := fmt.Sprint(n)
		if s.has(url) {
			return true
		}
		s.Add(entry(url, size), 0, all, always)
		return false
	}
	random := rand.New(rand.NewPCG(1, 2))
	popular := rand.NewZipf(random, 1.05, 20, 20_000)
	const later = 100
	hits := 0
	for n := range 60_000 {
		ask(n)
		if n >= later && ask(n-later) {
			hits++
		}
		for range 4 {
			ask(1_000_000 + int(popular.Uint64()))
		}
	}
	if hits < 45_000 {
		t.Errorf("%d of 60000 second requests were hits, %d KB for the small queue", hits, s.aim>>10)
	}
	s.check(t)

	popular = rand.NewZipf(random, 1.05, 10, 4000)
	for i := range 60_000 {
		ask(2_000_000 + int(popular.Uint64()))
		ask(3_000_000 + i)
	}
	if s.aim > s.max/5 {
		t.Errorf("%d KB of %d stay with the small queue", s.aim>>10, s.max>>10)
	}
	s.check(t)
}
