//go:build unix

package health

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestAFullQueueOfASocketIsWaitedFor: a server of this machine that is busy is neither
// gone nor slow to refuse.
func TestAFullQueueOfASocketIsWaitedFor(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	target := Target{URL: &url.URL{Scheme: "unix", Path: path}}
	dialer := &net.Dialer{Timeout: 50 * time.Millisecond}
	full := false
	for range 8 { // some systems add to the length
		c, err := net.Dial("unix", path)
		if err != nil {
			full = errors.Is(err, syscall.EAGAIN)
			break
		}
		t.Cleanup(func() { c.Close() })
	}
	if !full {
		t.Skip("this system does not refuse when the queue is full") // Linux does
	}
	start := time.Now()
	if _, err := target.Dial(context.Background(), dialer); !Unreachable(err) || time.Since(start) < dialer.Timeout {
		t.Errorf("a queue that stays full: %v after %v", err, time.Since(start))
	}
	dialer.Timeout = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond) // while it is still full
	defer cancel()
	if _, err := target.Dial(ctx, dialer); err == nil {
		t.Error("a call that was given up connected")
	}
	done := make(chan error)
	go func() {
		c, err := target.Dial(context.Background(), dialer)
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	// The server is done with one, and takes the next.
	accepted, _, err := syscall.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(accepted)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
