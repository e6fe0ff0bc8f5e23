package balancer

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/foretier/foretier/internal/http1"
)

// What the bodies of requests may take of memory that are read before a backend is
// picked. See Spool for the disk.
const (
	spoolEach   = bufferEach // of one body; what is longer goes to the disk
	spoolMemory = 64 << 20   // of all bodies of a pool
	spoolFirst  = 4 << 10    // what is held of a body of which nothing has come yet
	spoolSmall  = 64 << 10   // up to which that becomes fourfold, and then twofold
	spoolPiece  = 32 << 10   // what is held in memory of a body on the disk
)

// A spool lets a request's body be read before it is sent, and be sent more than
// once. What is gathered in advance is kept however long it is, as far as the
// depot has room; of what an attempt reads on its own, no more than a limit.
//
// Attempts read one after the other, but the last read of an attempt that was
// given up, or of gather, may still be going on when the next begins: what it
// brings is kept for the next.
type spool struct {
	src    io.Reader
	limit  int64
	depot  *depot
	client netip.Addr
	turn   chan struct{} // held while src is read, which may take long

	mu      sync.Mutex
	file    *file  // guarded by mu: the first of what is kept, or nil
	kept    []byte // guarded by mu: what follows it
	mem     []byte // guarded by mu: what kept is in, if it comes back; it may be larger
	reading bool   // guarded by mu: src is read into mem
	whole   bool   // guarded by mu: file and kept are everything from the start
	err     error  // guarded by mu: how src ended, or that it is not read any more
	isRead  bool   // guarded by mu: src was read to its end
	lost    error  // guarded by mu: why what is kept cannot be read
	memory  int64  // guarded by mu: what it holds of the depot's
	readers int    // guarded by mu: attempts that may still read
	settled bool   // guarded by mu: there will be no further attempt
	ended   func() // guarded by mu: is called once, when nothing more comes; may be nil
}

func newSpool(src io.Reader, limit int64, d *depot, client netip.Addr) *spool {
	return &spool{src: src, limit: max(limit, 0), depot: d, client: client, whole: true, turn: make(chan struct{}, 1)}
}

// gather reads on and keeps what comes, until the end of the body, until stop
// says so, or until there is no room. n is the body's length, negative if unknown.
func (s *spool) gather(n int64, stop *atomic.Bool) error {
	for !stop.Load() {
		if done, err := s.more(n); done || err != nil {
			return err
		}
	}
	return nil
}

// more is one read of gather.
func (s *spool) more(n int64) (done bool, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.err
	if end == nil && (n < 0 || s.sizeLocked() < n) {
		room, err := s.roomLocked(n)
		if err != nil {
			return false, err
		}
		s.reading = true
		s.mu.Unlock()
		got, err := s.src.Read(room)
		s.mu.Lock()
		s.reading = false
		if end = err; !s.whole { // it was given up meanwhile
			return true, &clientError{errBodyClosed}
		}
		s.kept = s.kept[:len(s.kept)+got]
	}
	switch {
	case n >= 0 && s.sizeLocked() == n:
		end = io.EOF
	case n >= 0 && end == io.EOF:
		end = io.ErrUnexpectedEOF
	case end == nil:
		return false, nil
	}
	if s.endLocked(end); end != io.EOF {
		return true, &clientError{end}
	}
	return true, nil
}

// roomLocked returns where the next bytes go of a body of length n, negative if
// unknown: behind what is kept in memory, which grows with what has come and not
// with what was announced, and is moved to the disk when it is full.
func (s *spool) roomLocked(n int64) ([]byte, error) {
	left, all := n-s.sizeLocked(), int64(cap(s.kept))
	free := all - int64(len(s.kept))
	little := free < all/4 && (n < 0 || free < left) // at a time, which costs more
	switch {
	case free > 0 && !little:
	case s.file == nil && s.growLocked(n), free > 0:
	case all == 0:
		return nil, errNoRoom
	default:
		if err := s.unloadLocked(); err != nil {
			return nil, err
		}
	}
	room := s.kept[len(s.kept):cap(s.kept)]
	if n >= 0 {
		room = room[:min(int64(len(room)), left)]
	}
	return room, nil
}

// growLocked makes room for more in memory, and reports whether there is some: fourfold at
// first, but no more than a body of length n needs, or than may be had.
func (s *spool) growLocked(n int64) bool {
	all := int64(cap(s.kept)) // which what an attempt has read has made as it came
	least := int64(spoolFirst)
	for least <= all {
		least *= 2
	}
	size := least
	if all > 0 && least < spoolSmall && (n < 0 || least < n) {
		size *= 2
	}
	for ; size >= least; size /= 2 {
		if size <= spoolEach && s.depot.memory.Take(s.client, size-s.memory, spoolMemory, spoolMemory/4) {
			s.moveLocked(size)
			s.memory = size
			return true
		}
	}
	return false
}

// moveLocked moves what is in memory to one of that size.
func (s *spool) moveLocked(size int64) {
	to := http1.Memory(int(size))
	n := copy(to, s.kept)
	s.freeLocked()
	s.mem, s.kept = to, to[:n]
}

// freeLocked gives its memory back, but for what is read into.
func (s *spool) freeLocked() {
	if s.mem != nil && !s.reading {
		http1.GiveBack(s.mem)
	}
	s.mem, s.kept = nil, nil
}

// unloadLocked moves what is in memory to the disk. Reads and writes of a file are
// waited for by the one exchange alone.
func (s *spool) unloadLocked() error {
	f := s.file
	if f == nil {
		f = s.depot.file(s.client)
	}
	if err := f.append(s.kept); err != nil {
		if s.file == nil {
			f.drop()
		}
		return err
	}
	s.file = f
	s.kept = s.kept[:0]
	if back := s.memory - spoolPiece; back > 0 {
		s.moveLocked(spoolPiece)
		s.memory -= back
		s.depot.memory.Give(s.client, back)
	}
	return nil
}

func (s *spool) sizeLocked() int64 { return s.file.len() + int64(len(s.kept)) }

// endLocked keeps how the body ended.
func (s *spool) endLocked(err error) {
	if s.err == nil {
		s.err, s.isRead = err, err == io.EOF
	}
	if s.ended != nil {
		s.ended()
		s.ended = nil
	}
}

// onEnd has f called once, when nothing more of the body comes.
func (s *spool) onEnd(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		f()
		return
	}
	s.ended = f
}

// replayable reports whether a further attempt would get the whole body.
func (s *spool) replayable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

// readToEnd reports whether all of the body has been read.
func (s *spool) readToEnd() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isRead
}

// here reports whether the whole body is in memory.
func (s *spool) here() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole && s.err == io.EOF && s.file == nil
}

// size returns how long the body is that gather has read to its end.
func (s *spool) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizeLocked()
}

// failure returns why the body could not be read, from the client or from the
// disk, or nil.
func (s *spool) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return s.lost
	}
	if s.err == nil || s.err == io.EOF || s.err == errBodyClosed {
		return nil
	}
	return &clientError{s.err}
}

// body returns the body of one attempt.
func (s *spool) body() io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
	return &spoolReader{spool: s}
}

// settle says that there will be no further attempt: what is kept goes when
// nobody reads it any more.
func (s *spool) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = true
	if s.readers == 0 {
		s.dropLocked()
	}
}

// end gives up what is kept, and all who read it.
func (s *spool) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errBodyClosed // not the end, which a reader might take for that of the body
	s.endLocked(s.err)
	s.dropLocked()
}

// dropLocked gives back what it holds. A read of the source that is going on
// brings its bytes to nobody.
func (s *spool) dropLocked() {
	s.whole = false
	s.freeLocked()
	if s.file != nil {
		s.file.drop()
		s.file = nil
	}
	if s.memory > 0 {
		s.depot.memory.Give(s.client, s.memory)
		s.memory = 0
	}
}

type spoolReader struct {
	spool *spool
	off   int64
	shut  atomic.Bool
}

var errBodyClosed = errors.New("balancer: read after the attempt ended")

// errLost means that a body was kept on the disk and cannot be read there: no
// backend's fault, and no other backend would get it.
var errLost = errors.New("balancer: the request's body is lost on the disk")

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
	switch {
	case s.whole && s.file == nil && int64(len(s.kept)+n) <= s.limit:
		s.kept = append(s.kept, p[:n]...)
		r.off = s.sizeLocked()
	case n > 0:
		s.dropLocked()
		r.off = 0
	}
	if err != nil {
		s.endLocked(err)
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
	var n int
	filed := s.file.len()
	switch {
	case r.off < filed:
		var err error
		if n, err = s.file.ReadAt(p[:min(int64(len(p)), filed-r.off)], r.off); n == 0 && err != nil {
			s.lost = fmt.Errorf("%w: %w", errLost, err)
			return 0, s.lost
		}
	case r.off < s.sizeLocked():
		n = copy(p, s.kept[r.off-filed:])
	default:
		return 0, s.err
	}
	r.off += int64(n)
	return n, nil
}

// Close ends the attempt's reading. It does not close what is read, which is
// the caller's of RoundTrip to do, once.
func (r *spoolReader) Close() error {
	if r.shut.Swap(true) {
		return nil
	}
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers--
	if s.settled && s.readers == 0 {
		s.dropLocked()
	}
	return nil
}
