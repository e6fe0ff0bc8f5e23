package status_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/internal/testkit"
)

// TestSocket: who may connect may steer, if the page is told so, and the log says who did.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.sock")
	l, err := status.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var log testkit.Log
	pool := new(crew)
	page := mustNew(t, []health.Reporter{pool}, status.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Act: func(r *http.Request) error {
		if !status.OverSocket(r) {
			return errors.New("not over the socket")
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	tcp := testkit.Listen(t)
	go func() { ended <- status.Server{Listener: l, Handler: page}.Run(ctx) }()
	go func() { ended <- status.Server{Listener: tcp, Handler: page}.Run(ctx) }()

	if file, err := os.Lstat(path); err != nil || file.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", file, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside it there are %v, %v", left, err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return net.Dial("unix", path) }}
	defer transport.CloseIdleConnections()
	order := url.Values{"kind": {"pool"}, "name": {"apps"}, "part": {"web1"}, "verb": {"drain"}}
	for at, client := range map[string]*http.Client{"localhost": {Transport: transport}, tcp.Addr().String(): http.DefaultClient} {
		res, err := client.PostForm("http://"+at+"/act", order)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if want := map[bool]int{true: 200, false: 403}[at == "localhost"]; res.StatusCode != want {
			t.Errorf("%s: %s", at, res.Status)
		}
	}
	from := "from=unix:"
	if runtime.GOOS == "linux" {
		from = fmt.Sprintf(`from="unix:uid=%d,pid=%d"`, os.Getuid(), os.Getpid())
	}
	log.Wants(t, from)
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// TestListenUnix refuses what is no place for a socket, and replaces one that is dead.
func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: in("dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	live, err := status.ListenUnix(in("live"), 0o660)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		mode fs.FileMode
		want string // "": it is right
	}{
		{in("new"), 0o660, ""},
		{in("dead"), 0o600, ""},
		{in("live"), 0o660, "serves there already"},
		{in("file"), 0o600, "something else is there"},
		{dir, 0o600, "something else is there"},
		{in("none/new"), 0o600, "no such file"},
		{"status.sock", 0o600, "want an absolute path"},
		{"", 0o600, "want an absolute path"},
		{in(strings.Repeat("x", 90)), 0o600, "at most 80 bytes"},
		{in("new2"), 0o666, "want 0600"},
		{in("new2"), 0, "want 0600"},
	} {
		l, err := status.ListenUnix(c.path, c.mode)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %04o: %v, want %q", c.path, c.mode, err, c.want)
		}
		if err == nil {
			if file, err := os.Lstat(c.path); err != nil || file.Mode() != fs.ModeSocket|c.mode {
				t.Errorf("%s: %v, %v", c.path, file, err)
			}
			l.Close()
		}
	}
	// Another process' stays.
	if err := os.Remove(in("live")); err != nil {
		t.Fatal(err)
	}
	next, err := status.ListenUnix(in("live"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	live.Close()
	if c, err := net.Dial("unix", next.Addr().String()); err != nil {
		t.Errorf("the end of the one before has taken it away: %v", err)
	} else {
		c.Close()
	}
	next.Close()
}
