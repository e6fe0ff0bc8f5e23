package memory

import "testing"

// A keeper counts its ends.
type keeper struct{ ended int }

func (k *keeper) End() { k.ended++ }

func hidesNothing(*Entry) bool { return false }

func add(t *testing.T, s *Store, url, variant string) *Entry {
	t.Helper()
	e := &Entry{URL: url, Body: make([]byte, 1000), More: &More{Vary: "A", Variant: variant}}
	same := func(old *Entry) bool { return old.More.Variant == variant }
	if !s.Add(e, 0, same, func() bool { return true }) {
		t.Fatal("not stored")
	}
	return e
}

// TestWhatIsKeptEnds: with the entry, whatever takes that out, and with a newer
// one before it.
func TestWhatIsKeptEnds(t *testing.T) {
	always := func(*Entry) bool { return true }
	for name, end := range map[string]func(*testing.T, *Store, *Entry){
		"removed":                  func(_ *testing.T, s *Store, e *Entry) { s.Remove(e) },
		"purged by URL":            func(_ *testing.T, s *Store, e *Entry) { s.ByURL(e.URL, always) },
		"purged by whatever":       func(_ *testing.T, s *Store, e *Entry) { s.Each(always) },
		"replaced":                 func(t *testing.T, s *Store, e *Entry) { add(t, s, e.URL, "1") },
		"hidden":                   func(t *testing.T, s *Store, e *Entry) { add(t, s, e.URL, "2") },
		"evicted":                  func(_ *testing.T, s *Store, e *Entry) { s.Reserve(s.max - 1); s.Unreserve(s.max - 1) },
		"removed while it is read": func(_ *testing.T, s *Store, e *Entry) { s.Retain(e); s.Remove(e); s.Release(e) },
	} {
		t.Run(name, func(t *testing.T) {
			s := New(1 << 20)
			e := add(t, s, "h/a", "1")
			before := s.Stats()
			k := new(keeper)
			if !s.Keep(e, k, 500, hidesNothing) || k.ended != 0 {
				t.Fatal("not kept")
			}
			if now := s.Stats(); now.Used != before.Used+500 || now.Held != before.Held+500 || s.small.bytes != now.Held {
				t.Errorf("accounts: %+v, %+v", before, now)
			}
			if end(t, s, e); k.ended != 1 {
				t.Errorf("ended %d times", k.ended)
			}
			s.Each(always)
			if now := s.Stats(); now.Used != 0 || now.Held != 0 || s.small.bytes+s.main.bytes+s.loose.bytes != 0 {
				t.Errorf("accounts, in the end: %+v", now)
			}
			if s.Keep(e, k, 500, hidesNothing) {
				t.Error("kept beside what is gone")
			}
		})
	}
}

func TestOnlyWhatIsFoundIsKept(t *testing.T) {
	s := New(1 << 20)
	older, newer := add(t, s, "h/a", "1"), add(t, s, "h/a", "2")
	hides := func(e *Entry) bool {
		if e != newer {
			t.Errorf("asked about %v", e)
		}
		return true
	}
	if s.Keep(older, new(keeper), 1, hides) || !s.Keep(older, new(keeper), 1, hidesNothing) || !s.Keep(newer, new(keeper), 1, hides) {
		t.Error("what is hidden is not kept, all other is")
	}
}

func TestTheOldestKeptMakesRoom(t *testing.T) {
	s := New(1 << 20)
	e := add(t, s, "h/a", "1")
	before := s.Stats().Used
	var kept [maxKept + 1]keeper
	for i := range kept {
		if !s.Keep(e, &kept[i], 10, hidesNothing) {
			t.Fatal("not kept")
		}
	}
	for i := range kept {
		if want := 0; kept[i].ended != want && i > 0 || i == 0 && kept[i].ended != 1 {
			t.Errorf("%d ended %d times", i, kept[i].ended)
		}
	}
	s.Forget(e, &kept[1])
	s.Forget(e, &kept[1])
	if used := s.Stats().Used; kept[1].ended != 0 || used != before+10*(maxKept-1) {
		t.Errorf("forgotten: ended %d times, %d used of %d before", kept[1].ended, used, before)
	}
}
