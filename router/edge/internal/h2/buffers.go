package h2

import "sync"

// What is written stands in buffers of two sizes: most of it is small, and what is small
// stays in the processor's cache.
const (
	smallBuffer = 4 << 10
	largeBuffer = 80 << 10 // mostGathered, and what is behind it when that is seen
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, 0, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, largeBuffer); return &b }}
)

func getBuffer() *[]byte { return smallBuffers.Get().(*[]byte) }

// growBuffer makes room for n bytes behind what is in b.
func growBuffer(b *[]byte, n int) *[]byte {
	if len(*b)+n <= cap(*b) || cap(*b) > smallBuffer {
		return b // what finds no room in a large one makes append find some
	}
	large := largeBuffers.Get().(*[]byte)
	*large = append(*large, *b...)
	putBuffer(b)
	return large
}

// putBuffer gives b back. It must not be used any more.
func putBuffer(b *[]byte) {
	if b == nil {
		return
	}
	n := cap(*b)
	*b = (*b)[:0]
	switch n {
	case smallBuffer:
		smallBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}
