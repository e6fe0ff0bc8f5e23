// Package storetest holds what every [cache.Store] must do, as tests that a store's
// author runs.
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) cache.Store { return mystore.New(...) })
//	}
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
)

// Run runs the contract on stores that open returns, which may share what they hold:
// each test uses keys of its own.
func Run(t *testing.T, open func(t *testing.T) cache.Store) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"absent is said", absent},
		{"what was saved last is there", replaced},
		{"any bytes, and the caller's memory is its own", anyBytes},
		{"the largest", largest},
		{"whole, whoever saves meanwhile", whole},
		{"many keys", many},
		{"a lifetime ends", lifetime},
		{"a lifetime is positive", noLifetime},
		{"a lease is one holder's", lease},
		{"one of many gets a lease", race},
		{"a lease ends by itself", leaseEnds},
		{"a lease is no data", apart},
		{"a context that has ended", ended},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			test.run(&suite{Store: open(t), T: t, ctx: ctx})
		})
	}
}

// suite is a store and the test that it is in.
type suite struct {
	cache.Store
	*testing.T
	ctx context.Context
}

// newKey returns a key that nobody has.
func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it does not fail
	return base64.RawURLEncoding.EncodeToString(b)
}

const long = time.Hour

func (s *suite) save(key, data string, lifetime time.Duration) {
	s.Helper()
	if err := s.Save(s.ctx, key, []byte(data), lifetime); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) want(key, want string) {
	s.Helper()
	data, err := s.Load(s.ctx, key)
	switch {
	case want == "" && !errors.Is(err, cache.ErrAbsent):
		s.Errorf("got %q, %v, want an ErrAbsent", data, err)
	case want != "" && (err != nil || string(data) != want):
		s.Errorf("got %q, %v, want %q", data, err, want)
	}
}

func (s *suite) lease(key, holder string, d time.Duration) bool {
	s.Helper()
	got, err := s.Lease(s.ctx, key, holder, d)
	if err != nil {
		s.Fatal(err)
	}
	return got
}

// until asks until something holds, or fails.
func (s *suite) until(what string, holds func() bool) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatal(what)
		}
	}
}

func absent(s *suite) { s.want(newKey(), "") }

func replaced(s *suite) {
	a, b := newKey(), newKey()
	s.save(a, "first, and longer", long)
	s.save(b, "another's", long)
	s.save(a, "second", long)
	s.want(a, "second")
	s.want(b, "another's")
}

func anyBytes(s *suite) {
	data := make([]byte, 256)
	for i := range data {
		data[i] = byte(i)
	}
	want, key := slices.Clone(data), newKey()
	if err := s.Save(s.ctx, key, data, long); err != nil {
		s.Fatal(err)
	}
	clear(data)
	got, err := s.Load(s.ctx, key)
	if err != nil || !bytes.Equal(got, want) {
		s.Fatalf("got %d other bytes, %v", len(got), err)
	}
	clear(got)
	s.want(key, string(want))
	for _, small := range []string{"\x00", "\r\n", "-1"} {
		s.save(key, small, long)
		s.want(key, small)
	}
}

func largest(s *suite) {
	data, key := make([]byte, 2<<20), newKey()
	_, _ = rand.Read(data)
	if err := s.Save(s.ctx, key, data, long); err != nil {
		s.Fatal(err)
	}
	if got, err := s.Load(s.ctx, key); err != nil || !bytes.Equal(got, data) {
		s.Errorf("got %d other bytes, %v", len(got), err)
	}
}

func whole(s *suite) {
	const writers, each, size = 4, 20, 50_000
	key := newKey()
	s.save(key, string(bytes.Repeat([]byte("0"), size)), long)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				if err := s.Save(s.ctx, key, bytes.Repeat([]byte{'a' + byte(w)}, size), long); err != nil {
					s.Error(err)
				}
			}
		})
	}
	for range writers * each {
		data, err := s.Load(s.ctx, key)
		if err != nil || len(data) != size || bytes.Count(data, data[:1]) != size {
			s.Errorf("got %d bytes of several writers, %v", len(data), err)
		}
	}
	wg.Wait()
}

func many(s *suite) {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = newKey()
		s.save(keys[i], keys[i], long)
	}
	for _, key := range keys {
		s.want(key, key)
	}
}

func lifetime(s *suite) {
	short, renewed, kept := newKey(), newKey(), newKey()
	begin := time.Now()
	s.save(kept, "kept", long)
	s.save(short, "short", 200*time.Millisecond)
	s.save(renewed, "short", time.Millisecond)
	s.save(renewed, "longer", long)
	s.until("what is to end does not", func() bool {
		_, err := s.Load(s.ctx, short)
		return errors.Is(err, cache.ErrAbsent)
	})
	if took := time.Since(begin); took < 200*time.Millisecond {
		s.Errorf("ended after %v", took)
	}
	s.want(kept, "kept")
	s.want(renewed, "longer")
	s.save(short, "again", long)
	s.want(short, "again")
}

func noLifetime(s *suite) {
	key := newKey()
	for _, d := range []time.Duration{0, -time.Second} {
		if err := s.Save(s.ctx, key, []byte("x"), d); err == nil {
			s.Errorf("saved for %v", d)
		}
		if _, err := s.Lease(s.ctx, key, "a", d); err == nil {
			s.Errorf("leased for %v", d)
		}
	}
	s.want(key, "")
	s.save(key, "x", time.Microsecond) // if only for a moment: not for ever
	s.until("a moment lasts for ever", func() bool {
		_, err := s.Load(s.ctx, key)
		return errors.Is(err, cache.ErrAbsent)
	})
}

func lease(s *suite) {
	key := newKey()
	for _, step := range []struct {
		holder string
		want   bool
	}{{"a", true}, {"b", false}, {"a", true}, {"c", false}} {
		if got := s.lease(key, step.holder, long); got != step.want {
			s.Errorf("%s has it: %t", step.holder, got)
		}
	}
	if err := s.Release(s.ctx, key, "b"); err != nil {
		s.Error(err)
	}
	if s.lease(key, "b", long) {
		s.Error("b has ended a's lease")
	}
	if !s.lease(newKey(), "b", long) {
		s.Error("another key's lease is held")
	}
	if err := errors.Join(s.Release(s.ctx, key, "a"), s.Release(s.ctx, key, "a")); err != nil {
		s.Error(err)
	}
	if !s.lease(key, "b", long) {
		s.Error("b does not get what a has released")
	}
}

func race(s *suite) {
	key := newKey()
	var got atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if s.lease(key, string(rune('a'+i)), long) {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n != 1 {
		s.Errorf("%d have it", n)
	}
}

func leaseEnds(s *suite) {
	key := newKey()
	begin := time.Now()
	if !s.lease(key, "a", 200*time.Millisecond) {
		s.Fatal("not got")
	}
	s.until("a lease does not end", func() bool { return s.lease(key, "b", long) })
	if took := time.Since(begin); took < 200*time.Millisecond {
		s.Errorf("ended after %v", took)
	}
	if s.lease(key, "a", long) {
		s.Error("a has it still")
	}
}

func apart(s *suite) {
	key := newKey()
	s.save(key, "data", long)
	if !s.lease(key, "a", long) {
		s.Error("data holds a lease")
	}
	s.save(key, "more", long)
	if err := s.Release(s.ctx, key, "a"); err != nil {
		s.Error(err)
	}
	s.want(key, "more")
}

func ended(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	key := newKey()
	s.save(key, "x", long)
	cancel()
	if _, err := s.Load(ctx, key); !errors.Is(err, context.Canceled) {
		s.Errorf("Load: %v", err)
	}
	if err := s.Save(ctx, key, []byte("y"), long); !errors.Is(err, context.Canceled) {
		s.Errorf("Save: %v", err)
	}
	if _, err := s.Lease(ctx, key, "a", long); !errors.Is(err, context.Canceled) {
		s.Errorf("Lease: %v", err)
	}
	if err := s.Release(ctx, key, "a"); !errors.Is(err, context.Canceled) {
		s.Errorf("Release: %v", err)
	}
	s.want(key, "x")
}
