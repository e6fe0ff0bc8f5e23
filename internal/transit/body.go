package transit

import (
	"io"
	"net/http"
	"sync"
)

// A Body is a request's body that nobody reads any more once it has been
// retired, whoever still holds it: what is behind it belongs to the server,
// which goes on to another request. All its methods may be called at any time,
// from any goroutine; what is behind it is read by one at a time.
type Body struct {
	src io.ReadCloser

	mu      sync.Mutex
	turn    sync.Cond // on mu: a read has ended, or none begins any more
	reading bool      // guarded by mu: src is being read
	shut    bool      // guarded by mu: no read begins any more
	err     error     // guarded by mu: how src ended
}

// NewBody returns src as a Body. Nobody else may read src from now on.
func NewBody(src io.ReadCloser) *Body {
	b := &Body{src: src}
	b.turn.L = &b.mu
	return b
}

// Read implements [io.Reader]. After Close and Retire it returns
// [http.ErrBodyReadAfterClose].
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	for b.reading && !b.shut {
		b.turn.Wait()
	}
	if b.shut {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if err != nil && b.err == nil {
		b.err = err
	}
	b.turn.Broadcast()
	return n, err
}

// Close lets no read begin any more. It does not wait for one that is going on:
// the server closes what is behind.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.turn.Broadcast()
	return nil
}

// Err returns how the body ended: [io.EOF] if it has been read as a whole, nil
// if there may be more of it.
func (b *Body) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Retire closes the body and waits until nobody reads it. If somebody does,
// interrupt is called, to end that read, and reports whether it could; else the
// source is closed, which may do so too. Interrupt may be called although the
// read is about to end by itself.
func (b *Body) Retire(interrupt func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.turn.Broadcast()
	if !b.reading {
		return
	}
	b.mu.Unlock()
	if !interrupt() {
		_ = b.src.Close() // it is not read any more either way
	}
	b.mu.Lock()
	for b.reading {
		b.turn.Wait()
	}
}
