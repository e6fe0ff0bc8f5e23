package sqlstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/session"
)

// TestChanges: a change is made once or not at all, and is said to be whichever it
// was, whatever becomes of its connections.
func TestChanges(t *testing.T) {
	const old, others = 7, 9
	// What becomes of the first attempt; the second goes well.
	cut := func(f *fake, do func()) error { do(); return errCut }
	before := func(f *fake, do func()) error { return errCut }
	onTop := func(f *fake, do func()) error { do(); f.version = others; return errCut }
	gone := func(f *fake, do func()) error { do(); f.version = 0; return errCut }
	deadlock := func(f *fake, do func()) error { return errNumber{1213} }
	readOnly := func(f *fake, do func()) error { return errNumber{1290} }
	full := func(f *fake, do func()) error { return errNumber{1114} }
	down := func(f *fake, do func()) error { return errNumber{1040} }
	first := func(f *fake, do func()) error { f.version = others; do(); return nil }
	firstKey := func(f *fake, do func()) error { f.version = others; return errNumber{1062} }
	cases := []struct {
		name  string
		fault func(*fake, func()) error
		// What is answered, and how many statements it takes, of Create, Update, Touch and Delete.
		want  [4]error
		takes [4]int
	}{
		{"all is well", func(f *fake, do func()) error { do(); return nil }, [4]error{}, [4]int{1, 1, 1, 1}},
		{"the answer is lost", cut, [4]error{}, [4]int{1, 1, 2, 1}},
		{"the statement is lost", before, [4]error{}, [4]int{3, 2, 2, 2}},
		{"a deadlock", deadlock, [4]error{}, [4]int{2, 2, 2, 2}},
		{"somebody came first", first, [4]error{2: session.ErrConflict, 1: session.ErrConflict, 3: session.ErrConflict, 0: session.ErrExists}, [4]int{1, 1, 1, 1}},
		{"a key that is there", firstKey, [4]error{session.ErrExists, session.ErrConflict, session.ErrConflict, session.ErrConflict}, [4]int{1, 1, 1, 1}},
		{"the answer is lost and somebody changes it", onTop, [4]error{session.ErrUnknown, session.ErrUnknown, session.ErrUnknown, session.ErrUnknown}, [4]int{1, 1, 1, 1}},
		{"the answer is lost and somebody deletes it", gone, [4]error{nil, session.ErrNotFound, session.ErrNotFound, nil}, [4]int{3, 1, 1, 1}},
		{"no writes here", readOnly, [4]error{session.ErrRefused, session.ErrRefused, session.ErrRefused, session.ErrRefused}, [4]int{1, 1, 1, 1}},
		{"no room", full, [4]error{session.ErrFull, session.ErrFull, session.ErrFull, session.ErrFull}, [4]int{1, 1, 1, 1}},
		{"no connection", down, [4]error{errNumber{1040}, errNumber{1040}, errNumber{1040}, errNumber{1040}}, [4]int{1, 1, 1, 1}},
	}
	record := session.Record{Version: old, Data: []byte("old")}
	for i, call := range []struct {
		name string
		do   func(ctx context.Context, s *Store) error
	}{
		{"Create", func(ctx context.Context, s *Store) error { return s.Create(ctx, "s-a", []byte("new"), time.Minute) }},
		{"Update", func(ctx context.Context, s *Store) error {
			return s.Update(ctx, "s-a", record, []byte("new"), time.Minute)
		}},
		{"Touch", func(ctx context.Context, s *Store) error { return s.Touch(ctx, "s-a", record, time.Minute) }},
		{"Delete", func(ctx context.Context, s *Store) error { return s.Delete(ctx, "s-a", record) }},
	} {
		for _, c := range cases {
			t.Run(call.name+"/"+c.name, func(t *testing.T) {
				f := &fake{version: old}
				if call.name == "Create" {
					f.version = 0
				}
				f.fault = func(f *fake, do func()) error { f.fault = nil; return c.fault(f, do) }
				err := call.do(t.Context(), f.newStore(t))
				if c.want[i] == nil && err != nil || !errors.Is(err, c.want[i]) {
					t.Errorf("answered %v, want %v", err, c.want[i])
				}
				if len(f.done) != c.takes[i] {
					t.Errorf("took %q, want %d", f.done, c.takes[i])
				}
			})
		}
	}
}

// TestAnExpiredRowInTheWay: MySQL says that its key is there, and it is not to be seen.
// It makes room, also where the first attempt was lost, or its removal meets another.
func TestAnExpiredRowInTheWay(t *testing.T) {
	for name, faults := range map[string][]error{
		"at once":               {errNumber{1062}},
		"a lost attempt before": {errCut, nil, errNumber{1062}},
		"a deadlock":            {errNumber{1062}, errNumber{1213}, errNumber{1062}},
	} {
		f := new(fake)
		f.fault = func(f *fake, do func()) error {
			if len(faults) == 0 {
				do()
				return nil
			}
			err := faults[0]
			faults = faults[1:]
			return err
		}
		if err := f.newStore(t).Create(t.Context(), "s-a", nil, time.Minute); err != nil || f.version == 0 || len(faults) > 0 {
			t.Errorf("%s: %v, %q", name, err, f.done)
		}
	}
}

// TestADeadConnectionIsTriedThreeTimes and no longer: the database is out.
func TestADeadConnectionIsTriedThreeTimes(t *testing.T) {
	f := &fake{version: 7, fault: func(*fake, func()) error { return errCut }}
	err := f.newStore(t).Update(t.Context(), "s-a", session.Record{Version: 7}, nil, time.Minute)
	if !errors.Is(err, errCut) || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrRefused) || len(f.done) != 3 {
		t.Errorf("%v after %d tries", err, len(f.done))
	}
}

// TestADeadlockIsMetUntilTheEndOfTheCall, and then is no answer.
func TestADeadlockIsMetUntilTheEndOfTheCall(t *testing.T) {
	f := &fake{version: 7, fault: func(*fake, func()) error { return errNumber{1213} }}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := f.newStore(t).Update(ctx, "s-a", session.Record{Version: 7}, nil, time.Minute)
	if err == nil || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrRefused) {
		t.Error(err)
	}
	f.mu.Lock() // what was left behind may still be at it
	defer f.mu.Unlock()
	if len(f.done) < 3 {
		t.Errorf("%d tries", len(f.done))
	}
}

// TestRecordsThatWereNotLoaded are not there, and nothing is done to what is.
func TestRecordsThatWereNotLoaded(t *testing.T) {
	for _, version := range []uint64{0, 1<<63 + 7, ^uint64(0)} {
		for there, want := range map[int64]error{0: session.ErrNotFound, 7: session.ErrConflict} {
			f := &fake{version: there}
			s, old := f.newStore(t), session.Record{Version: version}
			for name, err := range map[string]error{
				"Update": s.Update(t.Context(), "s-a", old, nil, time.Minute),
				"Touch":  s.Touch(t.Context(), "s-a", old, time.Minute),
				"Delete": s.Delete(t.Context(), "s-a", old),
			} {
				if !errors.Is(err, want) {
					t.Errorf("%s of version %d where %d is: %v, want %v", name, version, there, err, want)
				}
			}
		}
	}
}

// TestKeys: a database that is not strict would cut off what is too long.
func TestKeys(t *testing.T) {
	f := new(fake)
	s := f.newStore(t)
	for _, key := range []string{"", strings.Repeat("a", 65), strings.Repeat("a", 10_000), "a b", "a'; DROP TABLE sessions; --", "a\x00", "ä", "a\xff"} {
		if err := s.Create(t.Context(), key, nil, time.Minute); !errors.Is(err, session.ErrRefused) || len(err.Error()) > 500 {
			t.Errorf("%.40q: %v", key, err)
		}
	}
	if len(f.done) != 0 {
		t.Errorf("asked the database: %q", f.done)
	}
}

// TestReport: a table that is not cleaned up is degraded, until it is again.
func TestReport(t *testing.T) {
	f := new(fake)
	s := f.newStore(t)
	for _, step := range []struct {
		fault func(*fake, func()) error
		want  health.State
	}{
		{nil, health.Up},
		{func(*fake, func()) error { return errNumber{1290} }, health.Degraded},
		{nil, health.Up},
	} {
		f.version, f.fault = 0, step.fault
		_, err := s.Sweep(t.Context())
		m, failed := session.New(s, session.Options{})
		if failed != nil {
			t.Fatal(failed)
		}
		r := m.Report()
		if r.State != step.want || len(r.Parts) != 1 || (err != nil) != (step.want != health.Up) || (err != nil) != strings.Contains(r.Why, "what has expired is not deleted") {
			t.Errorf("swept: %v; report: %v, %q, %d parts", err, r.State, r.Why, len(r.Parts))
		}
	}
}
