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
