package balancer

import (
	"sync"
)

// buffers are what bodies are copied through.
var buffers bufferPool

const bufferSize = 32 << 10

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return new([bufferSize]byte)[:]
}

func (b *bufferPool) Put(s []byte) { b.pool.Put((*[bufferSize]byte)(s)) }
