package cache

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/foretier/foretier/cache/internal/memory"
)

// chunkSize is the size of a body's chunks; the first ones are smaller.
const chunkSize = 32 << 10

// window is how much of a body that will not be stored is held for readers of
// different speed.
const window = 256 << 10

// errNobody ends a fetch that is neither stored nor read.
var errNobody = errors.New("cache: nobody reads the response")

// A stream is a body on its way in. One writes, any number read, each from the
// beginning; the writer waits for nobody while the body may still be stored.
type stream struct {
	reserve   func(n int64) bool
	unreserve func(n int64)

	mu       sync.Mutex
	chunks   [][]byte // the body from base on; append-only
	base     int64    // what has been dropped in front of chunks
	size     int64    // what has been written
	reserved int64    // what of the store's bytes it holds
	spill    bool     // not to be stored: what all have read is dropped
	readers  []*reader
	changed  chan struct{} // closed at the next change; nil if nobody waits
	ended    bool
	err      error // why the body is not whole
}

// A reader is one client's place in a stream.
type reader struct {
	s   *stream
	pos int64
}

// expect makes room for a body of known length.
func (s *stream) expect(n int64) bool {
	size := memory.Sized(int(n))
	if !s.reserve(size) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += size
	if n > 0 {
		s.chunks = append(s.chunks, make([]byte, 0, n))
	}
	return true
}

// write appends p. In a stream that spills it waits for the slowest reader.
func (s *stream) write(ctx context.Context, p []byte, limit int64) error {
	for len(p) > 0 {
		s.mu.Lock()
		if s.spill {
			if len(s.readers) == 0 {
				s.mu.Unlock()
				return errNobody
			}
			s.dropLocked()
			if s.size-s.base >= window {
				wait := s.waitLocked()
				s.mu.Unlock()
				select {
				case <-wait:
					continue
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		} else if s.size+int64(len(p)) > limit {
			s.spill = true
			s.mu.Unlock()
			continue
		}
		n := len(s.chunks)
		if n == 0 || len(s.chunks[n-1]) == cap(s.chunks[n-1]) {
			grow := int64(min(chunkSize, max(4096, s.size)))
			if !s.spill && !s.reserve(grow) {
				s.spill = true
				s.mu.Unlock()
				continue
			}
			if !s.spill {
				s.reserved += grow
			}
			s.chunks = append(s.chunks, make([]byte, 0, grow))
			n++
		}
		last := s.chunks[n-1]
		fits := min(len(p), cap(last)-len(last))
		s.chunks[n-1] = append(last, p[:fits]...)
		p = p[fits:]
		s.size += int64(fits)
		s.wakeLocked()
		s.mu.Unlock()
	}
	return nil
}

// end says that the body is whole, or why it is not.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, err
	s.wakeLocked()
}

// take hands the chunks over, exactly as large as they need be, with what was
// reserved for them. ok is false if the stream has spilled.
func (s *stream) take() (chunks [][]byte, reserved int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reserved, s.reserved = s.reserved, 0
	if s.spill {
		return nil, reserved, false
	}
	chunks = append(chunks, s.chunks...)
	if n := len(chunks); n > 0 && len(chunks[n-1]) < cap(chunks[n-1]) {
		chunks[n-1] = append([]byte(nil), chunks[n-1]...)
	}
	return chunks, reserved, true
}

// give gives back what is reserved.
func (s *stream) give() {
	s.mu.Lock()
	n := s.reserved
	s.reserved = 0
	s.mu.Unlock()
	s.unreserve(n)
}

// read returns a reader at the beginning, or nil if that is no longer there.
func (s *stream) read() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spill {
		return nil
	}
	r := &reader{s: s}
	s.readers = append(s.readers, r)
	return r
}

// reading reports whether anybody reads.
func (s *stream) reading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers) > 0
}

// next returns the next bytes, which must not be changed, io.EOF at the end,
// or why there is none.
func (r *reader) next(ctx context.Context) ([]byte, error) {
	s := r.s
	for {
		s.mu.Lock()
		if r.pos < s.size {
			p := s.atLocked(r.pos)
			r.pos += int64(len(p))
			if s.spill {
				s.wakeLocked() // the writer may wait for this reader
			}
			s.mu.Unlock()
			return p, nil
		}
		if s.ended {
			err := s.err
			s.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return nil, err
		}
		wait := s.waitLocked()
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// close takes the reader off, so that nobody waits for it.
func (r *reader) close() {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.readers {
		if x == r {
			s.readers = append(s.readers[:i], s.readers[i+1:]...)
			break
		}
	}
	s.wakeLocked()
}

// atLocked returns what is there from pos on, up to the end of its chunk.
func (s *stream) atLocked(pos int64) []byte {
	pos -= s.base
	for _, c := range s.chunks {
		if pos < int64(len(c)) {
			return c[pos:len(c):len(c)]
		}
		pos -= int64(len(c))
	}
	return nil
}

// dropLocked drops the chunks that every reader has behind it.
func (s *stream) dropLocked() {
	slowest := s.size
	for _, r := range s.readers {
		slowest = min(slowest, r.pos)
	}
	for len(s.chunks) > 0 && s.base+int64(len(s.chunks[0])) <= slowest {
		s.base += int64(len(s.chunks[0]))
		s.chunks[0] = nil
		s.chunks = s.chunks[1:]
	}
}

func (s *stream) waitLocked() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *stream) wakeLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
