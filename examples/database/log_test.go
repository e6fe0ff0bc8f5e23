package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// TestLogWhoseReaderStandsStill: connections are served on, and the program ends,
// though nobody reads what it says.
func TestLogWhoseReaderStandsStill(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fill(t, w)
	status, listen, gone := freeAddr(t), freeAddr(t), testkit.Nobody(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-kind", "redis", "-listen", listen, "-status", status, "-backends", "tcp://" + gone}, io.Discard, w)
	}()
	testkit.Within(t, patience, "it answers", func() bool {
		res, err := http.Get("http://" + status + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	})
	for range 10 { // each of which is worth a line
		if got, err := ask(t, listen, ""); err != nil || got == "" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it does not end")
	}
}

// fill writes to a pipe until there is no room.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := w.Write(make([]byte, 4<<10)); err != nil {
			break
		}
	}
	_ = w.SetWriteDeadline(time.Time{})
}
