package cache

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
)

func newStream(budget int64) *stream { return &stream{store: memory.New(budget)} }

// counted returns what is counted of what streams hold.
func (s *stream) counted() int64 {
	stats := s.store.Stats()
	return stats.Used + stats.Given
}

// readAll reads to the end, with a pause after each piece.
func readAll(r *reader, pause time.Duration) ([]byte, error) {
	var out []byte
	for {
		p, err := r.next(context.Background())
		out = append(out, p...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		time.Sleep(pause)
	}
}

func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i/251)
	}
	return p
}

func TestStreamReadersAndSpill(t *testing.T) {
	whole := noise(3 << 19)
	for name, c := range map[string]struct {
		budget, limit int64
		stored        bool
	}{
		"stored":              {16 << 20, 16 << 20, true},
		"too large":           {16 << 20, 1 << 20, false},
		"no room in between":  {1 << 20, 16 << 20, false},
		"no room from the on": {0, 16 << 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream(c.budget)
				var wg sync.WaitGroup
				for i := range 4 {
					r := s.read()
					wg.Go(func() {
						defer r.close()
						got, err := readAll(r, time.Duration(i)*time.Millisecond)
						if errors.Is(err, errLeft) && !c.stored && i > 0 {
							mine := r.rest.sum
							var all maphash.Hash
							all.SetSeed(mine.Seed())
							all.Write(whole[:len(got)])
							if bytes.Equal(got, whole[:len(got)]) && int64(len(got)) == r.rest.end && mine.Sum64() == all.Sum64() {
								return // it goes on by itself from here
							}
						}
						if err != nil || !bytes.Equal(got, whole) {
							t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
						}
					})
				}
				for p := whole; len(p) > 0; p = p[min(len(p), 100_000):] {
					if err := s.write(context.Background(), p[:min(len(p), 100_000)], c.limit); err != nil {
						t.Fatal(err)
					}
					if held := s.size - s.base; s.spill && held > min(c.limit, c.budget)+2*window {
						t.Errorf("holds %d bytes", held)
					}
				}
				chunks, reserved, ok := s.handOver()
				s.store.Unreserve(reserved)
				if ok != c.stored {
					t.Errorf("stored: %t", ok)
				}
				if ok && !bytes.Equal(bytes.Join(chunks, nil), whole) {
					t.Error("what is stored is not what was written")
				}
				s.end(nil)
				wg.Wait()
				s.release()
				if !c.stored && s.read() != nil {
					t.Error("a reader at a beginning that is gone")
				}
				if n := s.counted(); n != 0 && !ok {
					t.Errorf("%d bytes not given back", n)
				}
			})
		})
	}
}

func TestStreamEndsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream(1 << 20)
		cut := errors.New("cut")
		r := s.read()
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := readAll(r, 0); string(got) != "half" || !errors.Is(err, cut) {
				t.Errorf("got %q %v", got, err)
			}
		})
		gone, cancel := context.WithCancel(context.Background())
		other := s.read()
		wg.Go(func() {
			for {
				if _, err := other.next(gone); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("a reader that left: %v", err)
					}
					return
				}
			}
		})
		_ = s.write(context.Background(), []byte("half"), 1<<20)
		synctest.Wait()
		cancel()
		synctest.Wait()
		s.end(cut)
		wg.Wait()
	})
}

func TestStreamNobodyReads(t *testing.T) {
	s := newStream(1 << 20)
	if err := s.write(context.Background(), noise(2<<20), 1<<20); !errors.Is(err, errNobody) {
		t.Errorf("got %v", err)
	}
}

func TestStreamGivesBack(t *testing.T) {
	s := newStream(16 << 20)
	_ = s.write(context.Background(), noise(1<<20), 16<<20)
	if n := s.counted(); n < 1<<20 || n > 1<<20+chunkSize {
		t.Errorf("reserved %d", n)
	}
	s.release()
	if s.counted() != 0 {
		t.Errorf("still reserved: %d", s.counted())
	}
}
