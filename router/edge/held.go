package edge

import (
	"net/http"
	"slices"
	"sync"
)

// heldMost is how much of a response's body is held where another server writes
// it, if all of it is.
const heldMost = 28 << 10

// A buffer is that of a response which is held.
type buffer struct {
	body   []byte
	header []field // as it was when it was written
}

type field struct {
	name   string
	values []string
	first  string // of values, which somebody may change
}

var buffers = sync.Pool{New: func() any { return &buffer{body: make([]byte, 0, heldMost)} }}

// free gives b back. It may be nil.
func (b *buffer) free() {
	if b != nil {
		b.body = b.body[:0]
		clear(b.header)
		b.header = b.header[:0]
		buffers.Put(b)
	}
}

// note keeps what h is now.
func (b *buffer) note(h http.Header) {
	for name, values := range h {
		f := field{name: name, values: values}
		switch {
		case len(values) == 1:
			f.first = values[0]
		case len(values) > 1:
			f.values = slices.Clone(values)
		}
		b.header = append(b.header, f)
	}
}

// restore makes h what it was when it was noted, and returns what it has become
// meanwhile, nil if it is the same.
func (b *buffer) restore(h http.Header) (now http.Header) {
	same := len(h) == len(b.header)
	for i := 0; same && i < len(b.header); i++ {
		f := &b.header[i]
		values, ok := h[f.name]
		if len(f.values) == 1 {
			same = len(values) == 1 && values[0] == f.first
		} else {
			same = ok && slices.Equal(values, f.values)
		}
	}
	if same {
		return nil
	}
	now = h.Clone()
	clear(h)
	for _, f := range b.header {
		if h[f.name] = f.values; len(f.values) == 1 {
			h[f.name] = []string{f.first}
		}
	}
	return now
}
