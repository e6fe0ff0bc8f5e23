package transit

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// source is a body whose reads end when it is told to.
type source struct {
	end    chan error
	closed chan struct{}
}

func (s source) Read([]byte) (int, error) {
	select {
	case err := <-s.end:
		return 0, err
	case <-s.closed:
		return 0, io.ErrClosedPipe
	}
}

func (s source) Close() error {
	close(s.closed)
	return nil
}

func TestBodyIsInertOnceRetired(t *testing.T) {
	b := NewBody(io.NopCloser(strings.NewReader("order")))
	if got, err := io.ReadAll(b); string(got) != "order" || err != nil || b.Err() != io.EOF {
		t.Errorf("got %q, %v; ended with %v", got, err, b.Err())
	}
	b.Retire(func() bool { t.Error("interrupted, and nobody reads"); return true })
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

func TestRetireWaitsForWhoReads(t *testing.T) {
	for name, deadlines := range map[string]bool{"where there are deadlines": true, "where there are none": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := source{make(chan error), make(chan struct{})}
				b := NewBody(s)
				read := make(chan error, 1)
				go func() {
					_, err := b.Read(make([]byte, 1))
					time.Sleep(time.Second) // what its reader still does
					read <- err
				}()
				synctest.Wait()
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				b.Retire(func() bool {
					if deadlines {
						s.end <- os.ErrDeadlineExceeded
					}
					return deadlines
				})
				want := io.ErrClosedPipe
				if deadlines {
					want = os.ErrDeadlineExceeded
				}
				if err := <-read; !errors.Is(err, want) || !errors.Is(b.Err(), want) {
					t.Errorf("the read ended with %v, the body with %v", err, b.Err())
				}
			})
		})
	}
}

// A counted source counts who reads it at once.
type counted struct {
	io.Reader
	now int
	t   *testing.T
}

func (c *counted) Read(p []byte) (int, error) {
	if c.now++; c.now > 1 {
		c.t.Errorf("%d read it at once", c.now)
	}
	time.Sleep(time.Second) // of the bubble's: as a source that waits for its client
	n, err := c.Reader.Read(p[:1])
	c.now--
	return n, err
}

// TestManyReadABodyInTurns: a source that is a connection's buffer does not guard
// itself.
func TestManyReadABodyInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBody(io.NopCloser(&counted{Reader: strings.NewReader("order"), t: t}))
		all := make(chan string, 3)
		for range cap(all) {
			go func() {
				got, err := io.ReadAll(b)
				if err != nil {
					t.Error(err)
				}
				all <- string(got)
			}()
		}
		if n := len(<-all) + len(<-all) + len(<-all); n != len("order") {
			t.Errorf("they have read %d bytes", n)
		}
	})
}

// TestWhoWaitsToReadIsTold: that nobody reads any more, at once, whoever still does.
func TestWhoWaitsToReadIsTold(t *testing.T) {
	for name, end := range map[string]func(*Body){
		"closed":  func(b *Body) { b.Close() },
		"retired": func(b *Body) { b.Retire(func() bool { return false }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := source{make(chan error), make(chan struct{})}
				b := NewBody(s)
				go b.Read(make([]byte, 1))
				synctest.Wait()
				waits := make(chan error, 1)
				go func() {
					_, err := b.Read(make([]byte, 1))
					waits <- err
				}()
				synctest.Wait()
				end(b)
				if err := <-waits; err != http.ErrBodyReadAfterClose {
					t.Errorf("got %v", err)
				}
				b.Retire(func() bool { return false })
			})
		})
	}
}
