package memory

import "testing"

func form(e *Entry, size int) *Entry {
	return e.MakeForm("Content-Encoding: br\r\n", make([]byte, size))
}

func stored(t *testing.T, s *Store, url string, size int) *Entry {
	t.Helper()
	if !s.Add(entry(url, size), 0, all, always) {
		t.Fatal("not stored")
	}
	e := s.Get([]byte(url), all)
	if e == nil {
		t.Fatal("not found")
	}
	return e
}

// TestFormsGoWithTheirEntry: they count as part of it for as long as anybody reads it,
// and no longer.
func TestFormsGoWithTheirEntry(t *testing.T) {
	for name, end := range map[string]func(s *Store, e *Entry){
		"removed":  func(s *Store, e *Entry) { s.Remove(e) },
		"replaced": func(s *Store, e *Entry) { s.Add(entry("a", 100), 0, all, always) },
		"evicted": func(s *Store, e *Entry) {
			for i := 0; s.Stats().Forms > 0; i++ {
				s.Add(entry(string(rune('b'+i)), 100_000), 0, none, always)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(1 << 20)
			e := stored(t, s, "a", 100_000)
			alone := s.Stats().Used
			f := form(e, 20_000)
			if !s.AddForm(e, 1, f, 0) || e.Form(1) != f || e.Form(0) != nil {
				t.Fatal("not added")
			}
			s.check(t)
			st := s.Stats()
			if st.Used != alone+f.formCost() || st.Forms != 1 || st.FormBytes != f.formCost() {
				t.Errorf("%+v", st)
			}
			end(s, e)
			s.check(t)
			if st = s.Stats(); st.Forms != 0 || st.FormBytes != 0 || st.Loose < 120_000 || e.Form(1) != f {
				t.Errorf("while it is read: %+v", st)
			}
			if s.AddForm(e, 2, form(e, 10), 0) || e.Form(2) != nil {
				t.Error("added to what is not stored")
			}
			s.Release(e)
			s.check(t)
			if st = s.Stats(); st.Loose != 0 || st.Used != st.Held {
				t.Errorf("once it has been read: %+v", st)
			}
		})
	}
}

// TestAFormIsAddedOnce, gives back what was reserved for it in any case, and makes
// room like anything else, though not beyond all there is.
func TestAFormIsAddedOnce(t *testing.T) {
	s := New(1 << 20)
	e := stored(t, s, "a", 1000)
	defer s.Release(e)
	before := s.Stats().Used
	if !s.Reserve(500) || !s.AddForm(e, 0, form(e, 300), 500) {
		t.Fatal("not added")
	}
	if !s.Reserve(500) || s.AddForm(e, 0, form(e, 200), 500) || e.Form(0).Len() != 300 {
		t.Error("added twice")
	}
	if used := s.Stats().Used; used != before+e.Form(0).formCost() {
		t.Errorf("%d of %d", used, before)
	}
	other := stored(t, s, "b", 400_000)
	s.Release(other)
	if !s.Reserve(400_000) || !s.AddForm(e, 1, form(e, 700_000), 400_000) || s.has("b") || !s.has("a") {
		t.Errorf("no room was made: %+v", s.Stats())
	}
	if s.AddForm(e, 2, form(e, 2<<20), 0) || s.AddForm(e, 3, form(e, 900_000), 0) {
		t.Error("more than all there is")
	}
	s.check(t)
	if e.Plain() {
		t.Error("plain")
	}
	if s.StayPlain(e); e.Plain() {
		t.Error("what is gone is marked") // its own form has had it evicted
	}
}

func TestAnEntryWithFormsIsAddedWhole(t *testing.T) {
	s := New(1 << 20)
	e := entry("a", 1000)
	e.SetForm(2, form(e, 400))
	if !s.Add(e, 0, all, always) {
		t.Fatal("not stored")
	}
	s.check(t)
	if st := s.Stats(); st.Forms != 1 || st.Used != e.size {
		t.Errorf("%+v", st)
	}
	s.StayPlain(e)
	if !e.Plain() {
		t.Error("not plain")
	}
	if s.AddForm(e, 0, form(e, 10), 0) || e.Form(2) == nil {
		t.Error("a form of what is plain, or none of what had one")
	}
	s.Remove(e)
	s.check(t)
	if st := s.Stats(); st.Used != 0 {
		t.Errorf("%+v", st)
	}
}
