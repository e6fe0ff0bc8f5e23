package h1

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Answers are held in buffers of two sizes: most are small, and what is small
// stays in the processor's cache.
const (
	smallBuffer = 4 << 10
	largeBuffer = mostHeld + smallBuffer // a body, and a head in front of it
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, 0, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, largeBuffer); return &b }}
)

// getBuffer returns a buffer with room for n bytes or so.
func getBuffer(n int) *[]byte {
	if n > smallBuffer {
		return largeBuffers.Get().(*[]byte)
	}
	return smallBuffers.Get().(*[]byte)
}

// growBuffer makes room for n bytes behind what is in b.
func growBuffer(b *[]byte, n int) *[]byte {
	if len(*b)+n <= cap(*b) || cap(*b) > smallBuffer {
		return b // a head that leaves no room makes append find some
	}
	large := getBuffer(largeBuffer)
	*large = append((*large)[:0], *b...)
	putBuffer(b)
	return large
}

// putBuffer gives b back. It must not be used any more.
func putBuffer(b *[]byte) {
	switch n := cap(*b); {
	case n == smallBuffer:
		smallBuffers.Put(b)
	case n == largeBuffer:
		largeBuffers.Put(b)
	}
}

// A second is a Date field as it is sent within one second.
type second struct {
	unix int64
	line string
}

var date atomic.Pointer[second]

// appendDate appends the Date field (RFC 9110, section 6.6.1).
func appendDate(b []byte) []byte { return AppendDate(b, time.Now()) }

// AppendDate appends the Date field of an answer that is sent now.
func AppendDate(b []byte, now time.Time) []byte {
	d := date.Load()
	if d == nil || d.unix != now.Unix() {
		d = &second{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		date.Store(d)
	}
	return append(b, d.line...)
}
