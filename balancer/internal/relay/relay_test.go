package relay

import (
	"cmp"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is an in-memory connection whose halves end on their own.
type halfPipe struct {
	r *io.PipeReader
	w *io.PipeWriter
	net.Conn
}

func (c *halfPipe) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *halfPipe) Write(p []byte) (int, error) { return c.w.Write(p) }
func (c *halfPipe) CloseWrite() error           { return c.w.Close() }
func (c *halfPipe) Close() error {
	_ = c.r.CloseWithError(net.ErrClosed)
	return c.w.CloseWithError(net.ErrClosed)
}

func newHalfPipe() (a, b *halfPipe) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return &halfPipe{r: r1, w: w2}, &halfPipe{r: r2, w: w1}
}

// limits of a relay. HalfOpen 0: 30 s.
type limits struct{ Idle, HalfOpen time.Duration }

func TestRelayLimits(t *testing.T) {
	cases := []struct {
		name string
		limits
		play func(client, backend *halfPipe)
		err  error
		took time.Duration // to within the quarter that a limit is kept to
	}{
		{"no idle limit", limits{}, func(c, b *halfPipe) {
			time.Sleep(24 * time.Hour)
			_ = c.CloseWrite()
			_ = b.CloseWrite()
		}, nil, 24 * time.Hour},
		{"idle", limits{Idle: time.Minute}, func(c, b *halfPipe) {}, ErrIdle, time.Minute},
		{"a byte keeps it", limits{Idle: time.Minute}, func(c, b *halfPipe) {
			for range 10 {
				time.Sleep(40 * time.Second)
				_, _ = c.Write([]byte("x"))
				_, _ = b.Read(make([]byte, 1))
			}
		}, ErrIdle, 460 * time.Second},
		{"a half open", limits{}, func(c, b *halfPipe) { _ = c.CloseWrite() }, ErrIdle, 30 * time.Second},
		{"a half open and an hour idle", limits{Idle: time.Hour}, func(c, b *halfPipe) { _ = c.CloseWrite() }, ErrIdle, 30 * time.Second},
		{"a half open and soon idle", limits{Idle: time.Second}, func(c, b *halfPipe) { _ = c.CloseWrite() }, ErrIdle, time.Second},
		{"the other half", limits{}, func(c, b *halfPipe) { _ = b.CloseWrite() }, ErrIdle, 30 * time.Second},
		{"a half open and busy", limits{}, func(c, b *halfPipe) {
			_ = c.CloseWrite()
			for range 10 {
				time.Sleep(20 * time.Second)
				_, _ = b.Write([]byte("x"))
				_, _ = c.Read(make([]byte, 1))
			}
			_ = b.CloseWrite()
		}, nil, 200 * time.Second},
		{"never half open for too long", limits{HalfOpen: -1}, func(c, b *halfPipe) {
			_ = c.CloseWrite()
			time.Sleep(time.Hour)
			_ = b.CloseWrite()
		}, nil, time.Hour},
		{"stalled while it is written to", limits{Idle: time.Minute}, func(c, b *halfPipe) {
			_, _ = b.Write([]byte("nobody takes this"))
		}, ErrIdle, time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, near := newHalfPipe()
				far, backend := newHalfPipe()
				go c.play(client, backend)
				start := time.Now()
				err := (&Relay{Client: near, Backend: far, Idle: c.Idle, HalfOpen: cmp.Or(c.HalfOpen, 30*time.Second)}).Run()
				took := time.Since(start)
				if !errors.Is(err, c.err) || took < c.took || took > c.took+c.took/4+time.Second {
					t.Errorf("ended after %v with %v, want %v with %v", took, err, c.took, c.err)
				}
				_ = client.Close()
				_ = backend.Close()
			})
		})
	}
}
