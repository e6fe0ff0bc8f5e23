package http1

import (
	"io"
	"math/bits"
	"sync"
	"unsafe"
)

// A Buffer holds what was read of a connection and not used yet. It has memory only
// while there is some, and gives that to whoever reads next. It belongs to one
// goroutine at a time. The zero Buffer reads nothing: see Reset.
type Buffer struct {
	src  io.Reader
	size int    // of the memory that it begins with; 0: minMemory
	mem  []byte // nil: none
	r, w int    // what is unread
	err  error  // came with the bytes that were read last
}

const (
	minMemory = 4 << 10  // what a buffer begins with
	maxMemory = 64 << 10 // the largest that others get to use
)

// Reset makes b read src, with nothing read yet.
func (b *Buffer) Reset(src io.Reader) {
	b.r, b.w, b.err = 0, 0, nil
	b.Free()
	b.src = src
}

// Room returns memory behind what is unread, for others to read into: see Filled.
func (b *Buffer) Room() []byte {
	b.room()
	return b.mem[b.w:]
}

// Grow makes room for n unread bytes in all, if so many may be had of [Memory].
func (b *Buffer) Grow(n int) {
	if n <= len(b.mem)-b.r || n > maxMemory {
		return
	}
	more := MemoryFor(n)
	b.r, b.w = 0, copy(more, b.mem[b.r:b.w])
	if b.mem != nil {
		GiveBack(b.mem)
	}
	b.mem = more
}

// Filled says that the first n bytes of Room were read into.
func (b *Buffer) Filled(n int) { b.w += n }

// Buffered is how many bytes are unread.
func (b *Buffer) Buffered() int { return b.w - b.r }

// Bytes returns what is unread. It is valid until the next Fill, Read, Free or Reset.
func (b *Buffer) Bytes() []byte { return b.mem[b.r:b.w] }

// Discard marks the first n unread bytes as read. They stay where they are.
func (b *Buffer) Discard(n int) { b.r += n }

// Fill reads once from the source, behind what is unread, for which it makes room.
// It returns an error only if nothing came.
func (b *Buffer) Fill() error {
	if b.err != nil {
		return b.takeErr()
	}
	for range 100 {
		n, err := b.src.Read(b.Room())
		b.w += n
		if b.err = err; n > 0 {
			return nil
		}
		if err != nil {
			return b.takeErr()
		}
	}
	return io.ErrNoProgress
}

// takeErr returns the source's error. What it says when it is asked again, after a
// deadline was moved perhaps, is its own affair.
func (b *Buffer) takeErr() error {
	err := b.err
	b.err = nil
	return err
}

// room makes room behind what is unread.
func (b *Buffer) room() {
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	switch {
	case b.mem == nil:
		b.mem = Memory(max(b.size, minMemory))
	case b.w < len(b.mem):
	case b.r > 0:
		b.w = copy(b.mem, b.mem[b.r:b.w])
		b.r = 0
	default:
		more := Memory(2 * len(b.mem))
		copy(more, b.mem)
		GiveBack(b.mem)
		b.mem = more
	}
}

// Read reads what is unread, else from the source, and straight into p if that is
// not short.
func (b *Buffer) Read(p []byte) (int, error) {
	if b.r == b.w {
		if b.err == nil && len(p) >= minMemory/2 {
			return b.src.Read(p)
		}
		if err := b.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.mem[b.r:b.w])
	b.r += n
	return n, nil
}

// Free gives the memory to others if nothing is unread, as of a connection that
// idles.
func (b *Buffer) Free() {
	if b.r == b.w && b.mem != nil {
		GiveBack(b.mem)
		b.mem, b.r, b.w = nil, 0, 0
	}
}

// memories are for buffers, one pool for each size: 4, 8, 16, 32 and 64 KiB.
var memories [5]sync.Pool

// Memory returns n bytes, whatever is in them. Those of 4 KiB, and of so many times doubled
// up to 64, may have been somebody else's, and are others' after [GiveBack].
func Memory(n int) []byte {
	if i := class(n); i >= 0 {
		if p, ok := memories[i].Get().(*byte); ok {
			return unsafe.Slice(p, n)
		}
	}
	return make([]byte, n)
}

// MemoryFor is Memory of n bytes or more, of which others have use.
func MemoryFor(n int) []byte { return Memory(max(minMemory, 1<<bits.Len(uint(n-1)))) }

// GiveBack takes back what [Memory] has returned, as a whole. Nobody may use it any more.
func GiveBack(b []byte) {
	if i := class(len(b)); i >= 0 {
		memories[i].Put(unsafe.SliceData(b)) // a pointer costs no allocation
	}
}

// class returns which of memories has n bytes, or -1.
func class(n int) int {
	if n < minMemory || n > maxMemory || n&(n-1) != 0 {
		return -1
	}
	return bits.Len(uint(n/minMemory)) - 1
}

// Append puts p behind what is unread, as if it had been read last.
func (b *Buffer) Append(p []byte) {
	for len(p) > 0 {
		b.room()
		n := copy(b.mem[b.w:], p)
		b.w += n
		p = p[n:]
	}
}
