package balancer

import (
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// A spool lets a request's body be sent more than once: it keeps what was read
// of it, up to a limit. Attempts read one after the other, but the last read
// of an attempt that was given up may still be going on when the next begins:
// what it brings is kept for the next.
type spool struct {
	src   io.Reader
	limit int64
	turn  chan struct{} // held while src is read, which may take long

	mu    sync.Mutex
	kept  []byte // guarded by mu: all that was read, while whole
	whole bool   // guarded by mu: kept is everything from the start
	err   error  // guarded by mu: how src ended
}

func newSpool(src io.Reader, limit int64) *spool {
	return &spool{src: src, limit: max(limit, 0), whole: true, turn: make(chan struct{}, 1)}
}

// fill reads the n bytes of the body, all of which are kept.
func (s *spool) fill(n int64) error {
	buf := make([]byte, 0, min(n, 16<<10)) // more once it is there
	for int64(len(buf)) < n {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, int(min(n-int64(len(buf)), int64(len(buf)))))
		}
		got, err := s.src.Read(buf[len(buf):min(int64(cap(buf)), n)])
		buf = buf[:len(buf)+got]
		if err == nil || int64(len(buf)) == n {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return &clientError{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.err = buf, io.EOF
	return nil
}

// readAll reads what is left of the body and returns the length of all, all of
// which is kept. It asks for each length whether so much may be.
func (s *spool) readAll(may func(int64) bool) (int64, error) {
	if !s.replayable() {
		return 0, errLength // a part of it is gone
	}
	s.mu.Lock()
	s.limit = math.MaxInt64
	s.mu.Unlock()
	r := s.body()
	defer r.Close()
	buf := buffers.Get()
	defer buffers.Put(buf)
	for n := int64(0); ; {
		got, err := r.Read(buf)
		if n += int64(got); !may(n) {
			return n, errLength
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, &clientError{err}
		}
	}
}

// replayable reports whether a further attempt would get the whole body.
func (s *spool) replayable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

// failure returns why the client's body could not be read, or nil.
func (s *spool) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || s.err == io.EOF {
		return nil
	}
	return &clientError{s.err}
}

// body returns the body of one attempt.
func (s *spool) body() io.ReadCloser { return &spoolReader{spool: s} }

type spoolReader struct {
	spool *spool
	off   int
	shut  atomic.Bool
}

var errBodyClosed = errors.New("balancer: read after the attempt ended")

func (r *spoolReader) Read(p []byte) (int, error) {
	if n, err := r.known(p); n > 0 || err != nil {
		return n, err
	}
	s := r.spool
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	// The attempt before may have read on meanwhile.
	if n, err := r.known(p); n > 0 || err != nil {
		return n, err
	}
	n, err := s.src.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	switch {
	case s.whole && int64(len(s.kept)+n) <= s.limit:
		s.kept = append(s.kept, p[:n]...)
		r.off = len(s.kept)
	case n > 0:
		s.whole = false
		s.kept = nil
		r.off = 0
	}
	return n, err
}

// known returns what has been read already, or how it ended.
func (r *spoolReader) known(p []byte) (int, error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.shut.Load() {
		return 0, errBodyClosed
	}
	if r.off < len(s.kept) {
		n := copy(p, s.kept[r.off:])
		r.off += n
		return n, nil
	}
	return 0, s.err
}

// Close ends the attempt's reading. It does not close what is read, which is
// the caller's of RoundTrip to do, once.
func (r *spoolReader) Close() error {
	r.shut.Store(true)
	return nil
}
