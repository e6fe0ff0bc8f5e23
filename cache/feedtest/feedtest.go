// Package feedtest holds what every [cache.Feed] must do, as tests that a feed's
// author runs.
//
//	func TestContract(t *testing.T) {
//		feedtest.Run(t, func(t *testing.T) feedtest.Log { return myfeed.open(t, ...) })
//	}
package feedtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
)

// A Log gives each gateway its feed on one log, by name.
type Log func(gateway string) cache.Feed

// Run runs the contract on logs that open returns, empty ones each.
func Run(t *testing.T, open func(t *testing.T) Log) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"entries come to all, in one order", order},
		{"several are appended whole and together", together},
		{"following goes on where it was", resume},
		{"zero is before everything", replay},
		{"who waits is told at once", prompt},
		{"the last position is known", last},
		{"gateways are seen until they leave", gateways},
		{"any bytes, and the caller's memory is its own", anyBytes},
		{"a position that there is not is a gap", nowhere},
		{"a context that has ended", ended},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(start(t, open(t))) })
	}
}

// Lost runs what must hold when lose has lost entries that were acknowledged, by
// whatever means, and returned: nobody goes on as if nothing had happened, be it who
// waits, who comes back, or who has seen less than what was lost.
func Lost(t *testing.T, log Log, lose func()) {
	s := start(t, log)
	a, b := log("a"), log("b")
	begin, err := a.Announce(s.ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := s.append(a, "first")
	s.read(b, begin, "first")
	second := s.append(a, "lost")
	waiting := make(chan error, 1)
	go func() { // it may break off before it knows, and goes on then
		at := second
		for {
			for e, err := range b.Follow(s.ctx, at) {
				if errors.Is(err, cache.ErrGap) || err == nil || s.ctx.Err() != nil {
					if err == nil {
						err = fmt.Errorf("came to %q", e.Data)
					}
					waiting <- err
					return
				}
			}
		}
	}()
	lose()
	var third cache.Position
	s.until("append again", func() (err error) {
		third, err = a.Append(s.ctx, []byte("third"))
		return err
	})
	if third <= second {
		t.Errorf("position %d after %d was lost", third, second)
	}
	if there, err := a.Gateways(s.ctx); err == nil {
		t.Errorf("who is there is known: %v", there)
	}
	if err := <-waiting; !errors.Is(err, cache.ErrGap) {
		t.Errorf("who waited: %v", err)
	}
	for name, at := range map[string]cache.Position{"who comes back": second, "who has not seen it": first} {
		if err := s.next(b, at); !errors.Is(err, cache.ErrGap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var end cache.Position
	s.until("announce", func() (err error) {
		end, err = b.Announce(s.ctx, 0)
		return err
	})
	if end < third {
		t.Errorf("the last is %d, not %d", end, third)
	}
	s.append(a, "fourth")
	s.read(b, end, "fourth")
	s.read(b, 0, "third", "fourth") // not what nobody can follow
}

// suite is a log and the test that it is in.
type suite struct {
	*testing.T
	ctx context.Context
	log Log
}

func start(t *testing.T, log Log) *suite {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return &suite{t, ctx, log}
}

// until repeats what a server that comes back may refuse at first.
func (s *suite) until(what string, do func() error) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("%s: %v", what, err)
		}
	}
}

func (s *suite) append(f cache.Feed, texts ...string) (p cache.Position) {
	s.Helper()
	entries := make([][]byte, len(texts))
	for i, text := range texts {
		entries[i] = []byte(text)
	}
	p, err := f.Append(s.ctx, entries...)
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// collect follows f until it has n entries, and returns them.
func (s *suite) collect(f cache.Feed, after cache.Position, n int) (list []cache.FeedEntry) {
	s.Helper()
	if n == 0 {
		return nil
	}
	for e, err := range f.Follow(s.ctx, after) {
		if err != nil {
			s.Fatalf("after %d: %v", after, err)
		}
		list = append(list, e)
		if len(list) == n {
			break
		}
	}
	return list
}

// read is collect that knows what comes; it returns the last position.
func (s *suite) read(f cache.Feed, after cache.Position, want ...string) (last cache.Position) {
	s.Helper()
	for i, e := range s.collect(f, after, len(want)) {
		if string(e.Data) != want[i] {
			s.Errorf("entry %d is %q, want %q", i, e.Data, want[i])
		}
		if e.Position <= last || e.Position <= after {
			s.Errorf("%q stands at %d, behind %d", e.Data, e.Position, max(last, after))
		}
		last = e.Position
	}
	return last
}

// next returns what is wrong with what comes next, or nil. Calls that fail for other
// reasons are repeated, as the cache does.
func (s *suite) next(f cache.Feed, after cache.Position) (wrong error) {
	for s.ctx.Err() == nil {
		for _, err := range f.Follow(s.ctx, after) {
			if wrong = err; err == nil || errors.Is(err, cache.ErrGap) {
				return err
			}
		}
	}
	return wrong
}

func order(s *suite) {
	const each, writers = 40, 3
	var wg sync.WaitGroup
	for w := range writers {
		f := s.log(fmt.Sprint("writer-", w))
		wg.Go(func() {
			var before cache.Position
			for i := range each {
				p, err := f.Append(s.ctx, fmt.Appendf(nil, "%d %d", w, i))
				if err != nil || p <= before {
					s.Errorf("%d after %d, %v", p, before, err)
				}
				before = p
			}
		})
	}
	var seen [2][]cache.FeedEntry
	for i := range seen {
		wg.Go(func() {
			for e, err := range s.log(fmt.Sprint("reader-", i)).Follow(s.ctx, 0) {
				if err != nil {
					s.Error(err)
					return
				}
				if seen[i] = append(seen[i], e); len(seen[i]) == each*writers {
					return
				}
			}
		})
	}
	wg.Wait()
	if !slices.EqualFunc(seen[0], seen[1], func(a, b cache.FeedEntry) bool {
		return a.Position == b.Position && bytes.Equal(a.Data, b.Data)
	}) {
		s.Error("two followers saw different orders")
	}
	var next [writers]int
	for _, e := range seen[0] {
		var w, i int
		if _, err := fmt.Sscan(string(e.Data), &w, &i); err != nil || i != next[w] {
			s.Fatalf("%q, want the writer's %d, %v", e.Data, next[w], err)
		}
		next[w]++
	}
}

func together(s *suite) {
	a, b := s.log("a"), s.log("b")
	var wg sync.WaitGroup
	const n = 10
	for _, f := range []cache.Feed{a, b} {
		wg.Go(func() {
			for range n {
				s.append(f, "one", "two", "three")
			}
		})
	}
	wg.Wait()
	want := slices.Repeat([]string{"one", "two", "three"}, 2*n)
	end := s.read(a, 0, want...)
	if p := s.append(a, "x", "y"); s.read(b, end, "x", "y") != p {
		s.Errorf("Append does not return the position of the last")
	}
}

func resume(s *suite) {
	f := s.log("a")
	var all []string
	for i := range 300 { // more than any batch
		all = append(all, fmt.Sprint(i))
	}
	s.append(f, all...)
	at := s.read(f, 0, all[:7]...)
	at = s.read(f, at, all[7:290]...)
	s.read(f, at, all[290:]...)
}

func replay(s *suite) {
	f := s.log("a")
	s.append(f, "a", "b")
	s.append(s.log("b"), "c")
	s.read(s.log("c"), 0, "a", "b", "c")
}

func prompt(s *suite) {
	f := s.log("a")
	end, err := f.Announce(s.ctx, 0)
	if err != nil {
		s.Fatal(err)
	}
	came := make(chan string, 1)
	go func() {
		for e, err := range s.log("b").Follow(s.ctx, end) {
			came <- fmt.Sprint(string(e.Data), " ", err)
			return
		}
	}()
	s.append(f, "news")
	if got := <-came; got != "news <nil>" {
		s.Error(got)
	}
}

func last(s *suite) {
	a, b := s.log("a"), s.log("b")
	empty, err := a.Announce(s.ctx, 0)
	if err != nil {
		s.Fatal(err)
	}
	p := s.append(a, "x")
	if p <= empty {
		s.Errorf("the first stands at %d, after %d", p, empty)
	}
	if got, err := b.Announce(s.ctx, p); err != nil || got != p {
		s.Errorf("the last is %d, %v, want %d", got, err, p)
	}
	next := s.append(b, "y")
	s.read(a, empty, "x", "y")
	if got, err := a.Announce(s.ctx, next); err != nil || got != next {
		s.Errorf("the last is %d, %v, want %d", got, err, next)
	}
}

func gateways(s *suite) {
	a, b := s.log("a"), s.log("b: with, odd \"name\"")
	p := s.append(a, "x")
	look := func(want map[string]cache.Position) {
		s.Helper()
		got, err := a.Gateways(s.ctx)
		if err != nil || len(got) != len(want) {
			s.Errorf("got %v, %v, want %v", got, err, want)
		}
		for name, p := range want {
			if at, ok := got[name]; !ok || at != p {
				s.Errorf("%s: got %d (%t), want %d", name, at, ok, p)
			}
		}
	}
	announce := func(f cache.Feed, p cache.Position) {
		s.Helper()
		if _, err := f.Announce(s.ctx, p); err != nil {
			s.Fatal(err)
		}
	}
	look(nil)
	announce(a, 0)
	announce(b, p)
	look(map[string]cache.Position{"a": 0, "b: with, odd \"name\"": p})
	announce(a, p)
	look(map[string]cache.Position{"a": p, "b: with, odd \"name\"": p})
	if err := errors.Join(b.Leave(s.ctx), b.Leave(s.ctx)); err != nil {
		s.Error(err)
	}
	look(map[string]cache.Position{"a": p})
}

func anyBytes(s *suite) {
	f := s.log("a")
	data := make([]byte, 256)
	for i := range data {
		data[i] = byte(i)
	}
	want := bytes.Repeat(data, 256) // 64 KiB
	mine := slices.Clone(want)
	if _, err := f.Append(s.ctx, mine, nil); err != nil {
		s.Fatal(err)
	}
	clear(mine)
	got := s.collect(f, 0, 2)
	if !bytes.Equal(got[0].Data, want) || len(got[1].Data) != 0 {
		s.Errorf("got %d and %d other bytes", len(got[0].Data), len(got[1].Data))
	}
}

func nowhere(s *suite) {
	f := s.log("a")
	p := s.append(f, "a")
	for _, at := range []cache.Position{1, p + 1, p + 1000, p + 1<<32} {
		if err := s.next(f, at); !errors.Is(err, cache.ErrGap) {
			s.Errorf("after %d, which there is not: %v", at, err)
		}
	}
}

func ended(s *suite) {
	f := s.log("a")
	s.append(f, "x")
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	came := make(chan struct{}, 1)
	go func() {
		var last error
		for _, err := range f.Follow(ctx, 0) {
			if last = err; err == nil {
				came <- struct{}{}
			}
		}
		done <- last
	}()
	<-came
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Errorf("Follow: %v", err)
	}
	if _, err := f.Append(ctx, []byte("y")); !errors.Is(err, context.Canceled) {
		s.Errorf("Append: %v", err)
	}
	if _, err := f.Announce(ctx, 0); !errors.Is(err, context.Canceled) {
		s.Errorf("Announce: %v", err)
	}
	if _, err := f.Gateways(ctx); !errors.Is(err, context.Canceled) {
		s.Errorf("Gateways: %v", err)
	}
	s.read(f, 0, "x")
}
