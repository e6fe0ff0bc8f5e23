package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// running runs the program until the test ends, in front of a server that nobody reaches,
// and returns where its status page is.
func running(t *testing.T, args ...string) (status string) {
	t.Helper()
	status = testkit.Nobody(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-kind", "redis", "-listen", testkit.Nobody(t), "-status", status, "-backends", "tcp://" + testkit.Nobody(t)}, args...), io.Discard, new(testkit.Log))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	testkit.Within(t, patience, "it answers", func() bool {
		res, err := http.Get("http://" + status + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	})
	return status
}

// TestStatus: what the flag says is there is there.
func TestStatus(t *testing.T) {
	status := running(t)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "no backend", "/status.json": `"kind": "pool"`, "/metrics": "foretier_pool_state", "/": "<title>"} {
		res, err := http.Get("http://" + status + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != map[bool]int{true: 503, false: 200}[path == "/readyz"] || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %.200s %v, want %q", path, res.Status, text, err, want)
		}
	}
}
