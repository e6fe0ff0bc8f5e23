package cache

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
)

// chunkSize is the size of a body's chunks; the first ones are smaller.
const chunkSize = 32 << 10

// spare is the size of a chunk that is not counted: a response for which there
// is no room goes on by that much at a time.
const spare = 4 << 10

// window is how much of a body that will not be stored is held for readers of
// different speed.
const window = 256 << 10

// errNobody ends a fetch that is neither stored nor read.
var errNobody = errors.New("cache: nobody reads the response")

// A stream is a body on its way in. One writes, any number read, each from the
// beginning; the writer waits for nobody while the body may still be stored.
// After that it waits for its readers, but no reader waits for another: those
// who are behind are left with what is there.
//
// What the chunks take is reserved while they come in. From when it is up to the
// readers how long they are kept, hold stands for them: what was stored of them,
// or the bytes alone. So they are counted for as long as anybody reads.
type stream struct {
	store *memory.Store

	mu       sync.Mutex
	chunks   [][]byte // the body from base on; append-only
	base     int64    // what has been dropped in front of chunks
	size     int64    // what has been written
	reserved int64    // what of the store's bytes it holds, beside hold
	hold     *memory.Entry
	released bool         // the stream itself holds nothing any more
	spill    bool         // not to be stored: what all have read is dropped
	sum      maphash.Hash // of what was dropped, while more than one read
	readers  []*reader
	changed  chan struct{} // closed at the next change; nil if nobody waits
	ended    bool
	err      error // why the body is not whole
}

// A reader is one client's place in a stream.
type reader struct {
	s      *stream
	pos    int64
	hold   *memory.Entry // held by this reader; guarded by s.mu
	lease  *lease        // guarded by s.mu; nil until there is one
	hungry bool          // it has all that is there; guarded by s.mu
	rest   *remainder    // of one left behind, what it may still read; guarded by s.mu
}

// A remainder is what a reader that was too slow for the others may still read.
type remainder struct {
	chunks    [][]byte
	base, end int64
	sum       maphash.Hash // of all before end
}

// errLeft is why a reader that was left behind gets no more.
var errLeft = errors.New("cache: left behind by faster readers")

// expect makes room for a body of known length.
func (s *stream) expect(n int64) bool {
	size := memory.Sized(int(n))
	if !s.store.Reserve(size) {
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
		if !s.spill && s.size+int64(len(p)) > limit {
			s.spillLocked()
		}
		if s.spill && len(s.readers) == 0 {
			s.mu.Unlock()
			return errNobody
		}
		fits := s.roomLocked(len(p))
		if fits == 0 {
			if s.detachLocked() {
				s.mu.Unlock()
				continue
			}
			wait := s.waitLocked()
			s.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		n := len(s.chunks) - 1
		s.chunks[n] = append(s.chunks[n], p[:fits]...)
		p = p[fits:]
		s.size += int64(fits)
		s.wakeLocked()
		s.mu.Unlock()
	}
	return nil
}

// roomLocked returns how much of n bytes fits into the last chunk, which may be
// new; 0 if readers have to read first.
func (s *stream) roomLocked(n int) int {
	if s.spill {
		s.dropLocked()
		if s.size-s.base >= window {
			return 0
		}
	}
	if i := len(s.chunks) - 1; i >= 0 && len(s.chunks[i]) < cap(s.chunks[i]) {
		return min(n, cap(s.chunks[i])-len(s.chunks[i]))
	}
	grow := int(min(chunkSize, max(spare, s.size)))
	size := memory.Sized(grow)
	switch {
	case !s.spill && s.store.Reserve(size):
		s.reserved += size
	case !s.spill:
		s.spillLocked()
		return s.roomLocked(n)
	case grow > spare && s.store.Grow(s.hold, size):
	case s.size == s.base: // else nothing would ever go on
		grow = spare
	default:
		return 0
	}
	s.chunks = append(s.chunks, make([]byte, 0, grow))
	return min(n, grow)
}

// spillLocked gives up storing the body.
func (s *stream) spillLocked() {
	s.spill = true
	s.sum.SetSeed(maphash.MakeSeed())
	n := s.reserved
	s.reserved = 0
	s.holdLocked(s.store.Hold(n, n))
}

// holdLocked makes e stand for the chunks, which the stream holds already, and
// all who read.
func (s *stream) holdLocked(e *memory.Entry) {
	s.hold = e
	for _, r := range s.readers {
		r.retainLocked(e)
	}
}

// retainLocked has the reader hold e and release what it held.
func (r *reader) retainLocked(e *memory.Entry) {
	r.releaseLocked()
	r.hold = e
	r.s.store.Retain(e)
	if r.lease != nil {
		r.s.store.Pin(&r.lease.Pin, e, time.Now().UnixNano())
	}
}

// releaseLocked releases what the reader holds.
func (r *reader) releaseLocked() {
	if r.hold == nil {
		return
	}
	if r.lease != nil {
		r.s.store.Unpin(&r.lease.Pin)
	}
	r.s.store.Release(r.hold)
	r.hold = nil
}

// detachLocked detaches the readers for whom a faster one would have to wait, and
// reports whether there are such. They may read what there is of the body now; for
// the rest they ask the backend themselves, if they ever get there.
func (s *stream) detachLocked() bool {
	if !slices.ContainsFunc(s.readers, func(r *reader) bool { return r.hungry && r.pos == s.size }) {
		return false
	}
	behind := func(r *reader) bool { return r.pos < s.size-window/2 }
	if s.size-s.base < window { // it is the store that has no room
		behind = func(r *reader) bool { return r.pos < s.size }
	}
	if !slices.ContainsFunc(s.readers, behind) {
		return false
	}
	rest := &remainder{chunks: slices.Clone(s.chunks), base: s.base, end: s.size, sum: s.sum}
	for _, c := range rest.chunks {
		rest.sum.Write(c)
	}
	hold := s.store.Hold(sizeOf(rest.chunks...), 0)
	s.readers = slices.DeleteFunc(s.readers, func(r *reader) bool {
		if !behind(r) {
			return false
		}
		r.rest = rest
		r.retainLocked(hold)
		return true
	})
	s.store.Release(hold)
	return true
}

// sizeOf returns what chunks count for.
func sizeOf(chunks ...[]byte) (n int64) {
	for _, c := range chunks {
		if cap(c) > spare {
			n += memory.Sized(cap(c))
		}
	}
	return n
}

// end says that the body is whole, or why it is not.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, err
	s.wakeLocked()
}

// handOver returns the chunks, the last cut to its size, and what was reserved for
// them, which is the caller's from now on. ok is false if the stream has spilled.
func (s *stream) handOver() (chunks [][]byte, reserved int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spill {
		return nil, 0, false
	}
	reserved, s.reserved = s.reserved, 0
	if n := len(s.chunks); n > 0 && len(s.chunks[n-1]) < cap(s.chunks[n-1]) {
		s.chunks[n-1] = append([]byte(nil), s.chunks[n-1]...)
	}
	return slices.Clone(s.chunks), reserved, true
}

// storedAs says what the chunks that were handed over have become: e, which the
// caller holds for the stream, stored or not.
func (s *stream) storedAs(e *memory.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdLocked(e)
}

// release gives back what the stream has reserved, and what it holds. What is still
// read is held by its readers.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.reserved
	s.reserved = 0
	if s.hold == nil && len(s.readers) > 0 {
		s.holdLocked(s.store.Hold(n, n))
	} else {
		s.store.Unreserve(n)
	}
	if s.hold != nil && !s.released {
		s.store.Release(s.hold)
	}
	s.released = true
}

// read returns a reader at the beginning, or nil if that is no longer there.
func (s *stream) read() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spill {
		return nil
	}
	r := &reader{s: s}
	switch {
	case s.hold != nil && s.store.TryRetain(s.hold):
		r.hold = s.hold
	case s.released: // nobody held the chunks but we do
		s.hold = s.store.Hold(sizeOf(s.chunks...), 0)
		r.hold = s.hold
	}
	s.readers = append(s.readers, r)
	return r
}

// attach says by which lease what the reader reads may be taken from it.
func (r *reader) attach(l *lease) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.lease = l
	if r.hold != nil {
		r.s.store.Pin(&l.Pin, r.hold, time.Now().UnixNano())
	}
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
		if r.rest != nil {
			p := at(r.rest.chunks, r.pos-r.rest.base)
			r.pos += int64(len(p))
			s.mu.Unlock()
			if p == nil {
				return nil, errLeft
			}
			return p, nil
		}
		if r.pos < s.size {
			p := at(s.chunks, r.pos-s.base)
			r.pos += int64(len(p))
			r.hungry = false
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
		if !r.hungry && s.spill {
			s.wakeLocked() // the writer may wait for others
		}
		r.hungry = true
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
	if i := slices.Index(s.readers, r); i >= 0 {
		s.readers = slices.Delete(s.readers, i, i+1)
	}
	r.releaseLocked()
	r.lease = nil
	s.wakeLocked()
}

// at returns what chunks have from pos on, up to the end of the chunk.
func at(chunks [][]byte, pos int64) []byte {
	for _, c := range chunks {
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
		if len(s.readers) > 1 {
			s.sum.Write(s.chunks[0])
		}
		s.base += int64(len(s.chunks[0]))
		s.store.Shrink(s.hold, sizeOf(s.chunks[0]))
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
