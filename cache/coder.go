package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
)

// A Coder compresses in one content coding. Its methods are called concurrently.
// Package codings has those in use.
type Coder interface {
	// Coding returns the coding's name as it stands in Accept-Encoding: br, zstd or
	// gzip. It is asked once.
	Coding() string
	// Encode writes to w, in the coding, what it reads from r. It ends with the
	// first error of either, and returns it.
	Encode(w io.Writer, r io.Reader) error
}

// coders make forms of what is stored, a few at once, behind everybody's back.
type coders struct {
	list    []Coder
	names   []string      // of each: its coding
	offers  []law.Codings // of each: the same
	places  int           // how many forms are made at once
	ctx     context.Context
	cancel  context.CancelFunc
	resting atomic.Int64 // until when nothing is made, in Unix nanoseconds: there was no room
	wait    sync.WaitGroup

	mu     sync.Mutex
	closed bool                // guarded by mu
	making map[making]struct{} // guarded by mu
}

// making is a form that is being made.
type making struct {
	e    *memory.Entry
	form int
}

// newCoders returns what makes forms by a list, or says what is wrong with that.
func newCoders(list []Coder) (*coders, error) {
	c := &coders{places: (runtime.GOMAXPROCS(0) + 1) / 2, making: make(map[making]struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var all law.Codings
	for _, one := range list {
		if given.Nil(one) {
			return nil, errors.New("cache: Compress has a nil Coder")
		}
		name := one.Coding()
		coding := law.CodingOf(name)
		if coding == 0 || coding&all != 0 || len(c.list) == memory.MaxForms {
			return nil, fmt.Errorf("cache: Compress has %q: want codings that are in use, such as br, zstd and gzip, each once", name)
		}
		all |= coding
		c.list, c.names, c.offers = append(c.list, one), append(c.names, name), append(c.offers, coding)
	}
	return c, nil
}

// begin takes a place for a form that is to be made, unless it is being made or there
// is none. Whoever asks next does so again.
func (c *coders) begin(m making) bool {
	if time.Now().UnixNano() < c.resting.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.making[m]; twice || c.closed || len(c.making) >= c.places {
		return false
	}
	c.making[m] = struct{}{}
	c.wait.Add(1)
	return true
}

func (c *coders) end(m making) {
	c.mu.Lock()
	delete(c.making, m)
	c.mu.Unlock()
	c.wait.Done()
}

// close ends what is being made, and waits for that.
func (c *coders) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wait.Wait()
}

// makeForm has form i of e made, which the caller holds.
func (c *Cache) makeForm(e *memory.Entry, i int) {
	m := making{e, i}
	if !c.coders.begin(m) {
		return
	}
	c.store.Retain(e)
	go func() {
		defer c.coders.end(m)
		defer c.store.Release(e)
		c.settleForm(e, c.encode(e, i))
	}()
}

var (
	// errNoSmaller is why a form is not made: it saves nothing worth an eighth.
	errNoSmaller = errors.New("cache: it is hardly smaller")
	// errNoRoom is why a form is not made either.
	errNoRoom = errors.New("cache: no room for it")
	// errTooLate is why a form is not kept: what it was made of is gone.
	errTooLate = errors.New("cache: it is gone")
)

// settleForm does what comes of an attempt to make a form of e.
func (c *Cache) settleForm(e *memory.Entry, err error) {
	switch {
	case err == nil:
		c.figures.forms.Add(1)
	case errors.Is(err, errTooLate) || c.coders.ctx.Err() != nil:
	case errors.Is(err, errNoRoom): // which passes
		c.coders.resting.Store(time.Now().Add(time.Second).UnixNano())
	case errors.Is(err, errNoSmaller): // in no coding would it be
		c.figures.plain.Add(1)
		c.store.StayPlain(e)
	default:
		c.store.StayPlain(e)
		c.opts.Logger.Error("cache: a response cannot be compressed", "url", e.URL, "error", err)
	}
}

// encode makes form i of e and adds it.
func (c *Cache) encode(e *memory.Entry, i int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cache: panic: %v\n%s", v, debug.Stack())
		}
	}()
	out := &formWriter{ctx: c.coders.ctx, left: e.Len() - e.Len()/8, stream: stream{store: c.store}}
	defer out.stream.release()
	in := &formReader{out.ctx, body{chunks: e.Chunks(), size: e.Len()}}
	err = c.coders.list[i].Encode(out, in)
	switch {
	case out.err != nil: // whether it says so or not
		return out.err
	case err == nil && in.pos < in.size:
		return io.ErrShortWrite
	case err != nil:
		return err
	}
	chunks, reserved, ok := out.stream.handOver()
	if !ok {
		return errNoRoom
	}
	form := c.formOf(e, i, chunks)
	if !c.store.AddForm(e, i, form, reserved) {
		return errTooLate
	}
	return nil
}

// formOf returns form i of e with this body.
func (c *Cache) formOf(e *memory.Entry, i int, chunks [][]byte) *memory.Entry {
	n := 0
	for _, chunk := range chunks {
		n += len(chunk)
	}
	whole := make([]byte, 0, n)
	if len(chunks) == 1 {
		whole = chunks[0]
	} else {
		for _, chunk := range chunks {
			whole = append(whole, chunk...)
		}
	}
	return e.MakeForm(formHead(e.Header(), c.coders.names[i], n), whole)
}

// formHead returns the head of a form of a response with this header, which is changed.
func formHead(h http.Header, coding string, length int) string {
	fields.Code(h, coding)
	h["Content-Length"] = []string{strconv.Itoa(length)}
	return memory.FormatHead(h)
}

// keepForms gives e, which says of the body of from something new, the forms of that.
func (c *Cache) keepForms(e, from *memory.Entry) {
	if e.Flags&memory.Codable == 0 {
		return
	}
	if from.Plain() {
		e.SetPlain()
	}
	for i := range c.coders.list {
		if form := from.Form(i); form != nil {
			e.SetForm(i, e.MakeForm(formHead(e.Header(), c.coders.names[i], len(form.Body)), form.Body))
		}
	}
}

// A formWriter takes a form while it is made, within the store's bytes.
type formWriter struct {
	ctx    context.Context
	left   int64 // how many bytes are worth it
	stream stream
	err    error
}

// Write implements [io.Writer].
func (w *formWriter) Write(p []byte) (int, error) {
	if w.err == nil {
		w.err = w.write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *formWriter) write(p []byte) error {
	if w.left -= int64(len(p)); w.left < 0 {
		return errNoSmaller
	}
	if err := w.stream.write(w.ctx, p, math.MaxInt64); err != nil {
		return errNoRoom
	}
	return nil
}

// A formReader reads what a form is made of, until it is not wanted any more.
type formReader struct {
	ctx context.Context
	body
}

// Read implements [io.Reader].
func (r *formReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}
