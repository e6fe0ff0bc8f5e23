package edge_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/router/edge"
)

// The server that redirects runs in the background of the one with TLS, and
// both linger at once.
func TestLingersRunSideBySide(t *testing.T) {
	for name, within := range map[string]func(edge.RunnerFunc) edge.Runner{
		"by itself": func(f edge.RunnerFunc) edge.Runner { return f },
		"in a Runner": func(f edge.RunnerFunc) edge.Runner {
			return edge.RunnerFunc(func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				return f(ctx)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				front, back := newPipeListener(), newPipeListener()
				quiet := slog.New(slog.DiscardHandler)
				ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
				plain, err := edge.New(edge.HTTPSRedirect(), edge.Options{Listener: back, Logger: quiet})
				if err != nil {
					t.Fatal(err)
				}
				secure, err := edge.New(ok, edge.Options{Listener: front, Logger: quiet})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					done <- secure.Run(ctx, within(func(ctx context.Context) error { return plain.Run(ctx) }))
				}()
				synctest.Wait()
				if err := errors.Join(secure.Ready(), plain.Ready()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				cancel()
				time.Sleep(9 * time.Second)
				for _, srv := range []*edge.Server{secure, plain} {
					if err := srv.Ready(); !errors.Is(err, edge.ErrDraining) {
						t.Errorf("after 9 s: %v", err)
					}
				}
				for _, l := range []*pipeListener{front, back} { // connections are still taken
					c := l.dial("192.0.2.1:1")
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					if b, err := io.ReadAll(c); len(b) == 0 || err != nil {
						t.Errorf("after 9 s: got %q, %v", b, err)
					}
					c.Close()
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
					t.Errorf("both ended after %s, want 10 s", took)
				}
			})
		})
	}
}

// A server whose listener breaks does not linger, and what runs in its
// background ends with it.
func TestBrokenListenerEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, back := newPipeListener(), newPipeListener()
		quiet := slog.New(slog.DiscardHandler)
		plain, err := edge.New(edge.HTTPSRedirect(), edge.Options{Listener: back, Logger: quiet, Linger: -1})
		if err != nil {
			t.Fatal(err)
		}
		secure, err := edge.New(http.NotFoundHandler(), edge.Options{Listener: front, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() { _ = front.Close() })
		err = secure.Run(t.Context(), edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
		if took := time.Since(began); !errors.Is(err, net.ErrClosed) || took > 3*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
