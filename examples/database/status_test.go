package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// running runs the program until the test ends, in front of a server that nobody reaches,
// and returns where its status page is.
func running(t *testing.T, args ...string) (status string) {
	t.Helper()
	status = freeAddr(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-kind", "redis", "-listen", freeAddr(t), "-status", status, "-backends", "tcp://" + testkit.Nobody(t)}, args...), io.Discard, new(testkit.Log))
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

// TestSteer: orders are taken over the socket, and nowhere else.
func TestSteer(t *testing.T) {
	dir, err := os.MkdirTemp("", "db") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "steer.sock")
	status := running(t, "-steer", socket)
	over := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	defer over.CloseIdleConnections()
	report, err := over.Get("http://localhost/status.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(report.Body)
	report.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, name, _ := strings.Cut(string(text), `"kind": "backend",`)
	_, name, _ = strings.Cut(name, `"name": "`)
	name, _, _ = strings.Cut(name, `"`)
	for _, c := range []struct {
		client        *http.Client
		at, verb      string
		status        int
		said, backend string
	}{
		{http.DefaultClient, status, "drain", 403, "over -steer alone", name},
		{over, "localhost", "drain", 200, "ok", name},
		{over, "localhost", "primary", 409, "it does ready, drain, maintenance", name}, // nobody has asked it what it is,
		{over, "localhost", "primary", 409, "it does nothing", "db9"},
	} {
		res, err := c.client.PostForm("http://"+c.at+"/act", url.Values{"kind": {"pool"}, "name": {"database"}, "part": {c.backend}, "verb": {c.verb}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(text), c.said) {
			t.Errorf("%s %s at %s: %s %s %v, want %q", c.verb, c.backend, c.at, res.Status, text, err, c.said)
		}
	}
}
