// Package storetest holds what every [session.Store] must do, as a test that a
// store's author runs.
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) session.Store { return mystore.New(...) })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/session"
)

// Run runs the contract on stores that open returns, which may share what they
// hold: each test uses keys of its own. It takes about four seconds, since
// servers count a record's time in seconds.
func Run(t *testing.T, open func(t *testing.T) session.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"absent is no error", absent},
		{"create must not exist", create},
		{"update must be of what was loaded", update},
		{"update must exist", updateAbsent},
		{"touch keeps data and must exist", touch},
		{"delete must be of what was loaded", remove},
		{"a version never comes back", versions},
		{"several at once, in order", several},
		{"any bytes, up to the largest session", anyBytes},
		{"the caller's memory is its own", memory},
		{"one winner among many", race},
		{"no update is lost", increments},
		{"records expire, touched ones later", expiry},
		{"more than 30 days", long},
		{"a context that has ended", ended},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			test.run(t, &suite{Store: open(t), t: t, ctx: ctx, key: keyFor(t)})
		})
	}
}

// suite is a store and the test that it is in.
type suite struct {
	session.Store
	t   *testing.T
	ctx context.Context
	key string
}

// keyFor returns a key of the longest form, unique to the test and the run.
func keyFor(t *testing.T) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	key := fmt.Sprintf("s-%016x_%s", time.Now().UnixNano(), name)
	return (key + strings.Repeat("_", 64))[:64]
}

// must fails the test if err is not want.
func (s *suite) must(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		s.t.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

// load returns the one record of key.
func (s *suite) load(key string) session.Record {
	s.t.Helper()
	records, err := s.Load(s.ctx, key)
	s.must("Load", err, nil)
	if len(records) != 1 {
		s.t.Fatalf("Load: %d records for one key", len(records))
	}
	return records[0]
}

// holds fails the test unless key holds data.
func (s *suite) holds(key, data string) session.Record {
	s.t.Helper()
	r := s.load(key)
	if r.Version == 0 || string(r.Data) != data {
		s.t.Fatalf("got version %d, %.40q, want %.40q", r.Version, r.Data, data)
	}
	return r
}

func absent(t *testing.T, s *suite) {
	if r := s.load(s.key); r.Version != 0 || r.Data != nil {
		t.Errorf("got %+v", r)
	}
}

func create(t *testing.T, s *suite) {
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	s.must("Create again", s.Create(s.ctx, s.key, []byte("b"), time.Minute), session.ErrExists)
	r := s.holds(s.key, "a")
	if left := time.Until(r.Expires); left < 50*time.Second || left > 70*time.Second {
		t.Errorf("Expires in %v, want 1m", left)
	}
}

func update(t *testing.T, s *suite) {
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	first := s.load(s.key)
	s.must("Update", s.Update(s.ctx, s.key, first, []byte("b"), time.Hour), nil)
	s.must("Update of an older one", s.Update(s.ctx, s.key, first, []byte("c"), time.Minute), session.ErrConflict)
	r := s.holds(s.key, "b")
	if r.Version == first.Version {
		t.Error("the version stayed")
	}
	if left := time.Until(r.Expires); left < 59*time.Minute {
		t.Errorf("Expires in %v, want 1h", left)
	}
}

func updateAbsent(t *testing.T, s *suite) {
	s.must("Update", s.Update(s.ctx, s.key, session.Record{Version: 1}, []byte("a"), time.Minute), session.ErrNotFound)
	if r := s.load(s.key); r.Version != 0 {
		t.Errorf("Update created %q", r.Data)
	}
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	old := s.load(s.key)
	s.must("Delete", s.Delete(s.ctx, s.key, old), nil)
	s.must("Update after Delete", s.Update(s.ctx, s.key, old, []byte("b"), time.Minute), session.ErrNotFound)
	if r := s.load(s.key); r.Version != 0 {
		t.Errorf("a late Update brought back %q", r.Data)
	}
}

func touch(t *testing.T, s *suite) {
	s.must("Touch of nothing", s.Touch(s.ctx, s.key, session.Record{Version: 1}, time.Minute), session.ErrNotFound)
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	s.must("Touch", s.Touch(s.ctx, s.key, s.load(s.key), time.Hour), nil)
	r := s.holds(s.key, "a")
	if left := time.Until(r.Expires); left < 59*time.Minute || left > 61*time.Minute {
		t.Errorf("Expires in %v, want 1h", left)
	}
	s.must("Update after Touch", s.Update(s.ctx, s.key, r, []byte("b"), time.Minute), nil)
	// A touch with an older record may work or conflict, and changes no data.
	if err := s.Touch(s.ctx, s.key, r, time.Minute); err != nil && !errors.Is(err, session.ErrConflict) {
		t.Errorf("Touch with an older record: %v", err)
	}
	s.holds(s.key, "b")
}

func remove(t *testing.T, s *suite) {
	s.must("Delete of nothing", s.Delete(s.ctx, s.key, session.Record{Version: 1}), session.ErrNotFound)
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	old := s.load(s.key)
	s.must("Update", s.Update(s.ctx, s.key, old, []byte("b"), time.Minute), nil)
	s.must("Delete of an older one", s.Delete(s.ctx, s.key, old), session.ErrConflict)
	s.must("Delete", s.Delete(s.ctx, s.key, s.holds(s.key, "b")), nil)
	if r := s.load(s.key); r.Version != 0 {
		t.Errorf("still holds %q", r.Data)
	}
	s.must("Create after Delete", s.Create(s.ctx, s.key, []byte("c"), time.Minute), nil)
}

func versions(t *testing.T, s *suite) {
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	first := s.load(s.key)
	s.must("Update", s.Update(s.ctx, s.key, first, []byte("b"), time.Minute), nil)
	s.must("Update back", s.Update(s.ctx, s.key, s.load(s.key), []byte("a"), time.Minute), nil)
	s.must("Update", s.Update(s.ctx, s.key, first, []byte("c"), time.Minute), session.ErrConflict)
	s.must("Delete", s.Delete(s.ctx, s.key, s.load(s.key)), nil)
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), time.Minute), nil)
	s.must("Update", s.Update(s.ctx, s.key, first, []byte("c"), time.Minute), session.ErrConflict)
}

func several(t *testing.T, s *suite) {
	other := s.key[:62] + "-2"
	s.must("Create", s.Create(s.ctx, other, []byte("two"), time.Minute), nil)
	records, err := s.Load(s.ctx, s.key, other, s.key)
	s.must("Load", err, nil)
	if len(records) != 3 || records[0].Version != 0 || string(records[1].Data) != "two" || records[2].Version != 0 {
		t.Errorf("got %+v", records)
	}
}

func anyBytes(t *testing.T, s *suite) {
	data := make([]byte, session.MaxSize)
	for i := range data {
		data[i] = byte(i * 31 / 7)
	}
	copy(data, "\r\nEND\r\n\x00\xff")
	s.must("Create", s.Create(s.ctx, s.key, data, time.Minute), nil)
	r := s.holds(s.key, string(data))
	s.must("Update", s.Update(s.ctx, s.key, r, []byte{}, time.Minute), nil)
	s.holds(s.key, "")
}

func memory(t *testing.T, s *suite) {
	data := []byte("mine")
	s.must("Create", s.Create(s.ctx, s.key, data, time.Minute), nil)
	copy(data, "fire")
	r := s.holds(s.key, "mine")
	s.must("Update", s.Update(s.ctx, s.key, r, []byte("hers"), time.Minute), nil)
	if !bytes.Equal(r.Data, []byte("mine")) {
		t.Errorf("a loaded record changed to %q", r.Data)
	}
}

func race(t *testing.T, s *suite) {
	const n = 20
	var wg sync.WaitGroup
	created := make([]error, n)
	for i := range n {
		wg.Go(func() { created[i] = s.Create(s.ctx, s.key, []byte{byte(i)}, time.Minute) })
	}
	wg.Wait()
	old := s.load(s.key)
	updated := make([]error, n)
	for i := range n {
		wg.Go(func() { updated[i] = s.Update(s.ctx, s.key, old, []byte{byte(i)}, time.Minute) })
	}
	wg.Wait()
	for what, errs := range map[string][]error{"Create": created, "Update": updated} {
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, session.ErrExists) && !errors.Is(err, session.ErrConflict):
				t.Errorf("%s: %v", what, err)
			}
		}
		if won != 1 {
			t.Errorf("%s: %d of %d won", what, won, n)
		}
	}
}

func increments(t *testing.T, s *suite) {
	const workers, each = 8, 10
	s.must("Create", s.Create(s.ctx, s.key, nil, time.Minute), nil)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each && s.ctx.Err() == nil; {
				records, err := s.Load(s.ctx, s.key)
				if err != nil {
					t.Errorf("Load: %v", err)
					return
				}
				err = s.Update(s.ctx, s.key, records[0], append(bytes.Clone(records[0].Data), 'x'), time.Minute)
				switch {
				case err == nil:
					done++
				case !errors.Is(err, session.ErrConflict):
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.holds(s.key, strings.Repeat("x", workers*each))
}

func expiry(t *testing.T, s *suite) {
	touched := s.key[:62] + "-t"
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), 2*time.Second), nil)
	s.must("Create", s.Create(s.ctx, touched, []byte("b"), 2*time.Second), nil)
	old := s.load(s.key)
	s.must("Touch", s.Touch(s.ctx, touched, s.load(touched), time.Minute), nil)
	for s.load(s.key).Version != 0 && s.ctx.Err() == nil {
		select {
		case <-time.After(50 * time.Millisecond): // a server's clock cannot be moved
		case <-s.ctx.Done():
		}
	}
	if time.Now().Before(old.Expires.Add(-time.Second)) {
		t.Errorf("gone %v early", time.Until(old.Expires))
	}
	s.holds(touched, "b")
	s.must("Update of an expired one", s.Update(s.ctx, s.key, old, []byte("c"), time.Minute), session.ErrNotFound)
	s.must("Create after it", s.Create(s.ctx, s.key, []byte("d"), time.Minute), nil)
}

func long(t *testing.T, s *suite) {
	const days = 24 * time.Hour
	s.must("Create", s.Create(s.ctx, s.key, []byte("a"), 45*days), nil)
	r := s.holds(s.key, "a")
	s.must("Update", s.Update(s.ctx, s.key, r, []byte("b"), 60*days), nil)
	r = s.holds(s.key, "b")
	s.must("Touch", s.Touch(s.ctx, s.key, r, 90*days), nil)
	if left := time.Until(s.holds(s.key, "b").Expires); left < 89*days {
		t.Errorf("Expires in %v, want 90 days", left)
	}
}

func ended(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Load(ctx, s.key); err == nil {
		t.Error("Load: no error")
	}
	for what, err := range map[string]error{
		"Create": s.Create(ctx, s.key, nil, time.Minute),
		"Update": s.Update(ctx, s.key, session.Record{Version: 1}, nil, time.Minute),
		"Touch":  s.Touch(ctx, s.key, session.Record{Version: 1}, time.Minute),
		"Delete": s.Delete(ctx, s.key, session.Record{Version: 1}),
	} {
		if err == nil || errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
