//go:build unix

package edge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// succeeds is the process that is to take over; it ends by itself after a minute.
func succeeds(how string) {
	if how == "dies" {
		os.Exit(3)
	}
	ls, err := edge.Inherited()
	if err != nil || !edge.Succeeds() || os.Getenv("FORETIER_PREDECESSOR_PID") != "" {
		fmt.Println("listeners:", ls, err, edge.Succeeds())
		os.Exit(4)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if how == "hangs" {
		<-ctx.Done()
		return
	}
	srv, err := edge.New(says(strconv.Itoa(os.Getpid())), edge.Options{Listener: ls[len(ls)-1], Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = srv.Run(ctx, edge.RunnerFunc(func(context.Context) error { return errors.Join(edge.TookOver(), edge.TookOver()) }))
	}
	fmt.Println(err)
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// successorOf is a command that runs this test's program so.
func successorOf(t *testing.T, how string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "EDGE_TEST_CHILD="+how, "LISTEN_FDS=7", "LISTEN_FDNAMES=other")
	cmd.Stderr = os.Stderr
	return cmd
}

// isBlocking reports whether calls on the socket would wait.
func isBlocking(t *testing.T, l net.Listener) (blocking bool) {
	t.Helper()
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		blocking = errno != 0 || flags&syscall.O_NONBLOCK == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocking
}

// Another process takes over under load; nobody is refused, and the first does not linger.
func TestHandOver(t *testing.T) {
	l, status := testkit.Listen(t), testkit.Listen(t)
	srv, err := edge.New(says("old"), edge.Options{Listener: l, Linger: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	stopKept := load(t, "http://"+l.Addr().String(), func() *http.Transport { return &http.Transport{} })
	stopNew := load(t, "http://"+l.Addr().String(), func() *http.Transport { return &http.Transport{DisableKeepAlives: true} })
	waitFor(t, func() bool { return metric(srv.Report(), "requests_total") > 100 })

	for how, want := range map[string]string{"dies": "exit status 3", "hangs": "did not serve in time", "nobody": "no such file"} {
		cmd, within := successorOf(t, how), context.Background()
		if how == "nobody" {
			cmd = exec.Command("/none/gateway")
		}
		if how == "hangs" {
			soon, cancel := context.WithTimeout(within, 500*time.Millisecond)
			defer cancel()
			within = soon
		}
		if err := edge.HandOver(within, cmd, status, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", how, err)
		}
		if isBlocking(t, l) { // which it is for both, and whoever accepts would wait beyond the end
			t.Errorf("%s: the socket has become a blocking one", how)
		}
	}
	before := metric(srv.Report(), "requests_total")
	waitFor(t, func() bool { return metric(srv.Report(), "requests_total") > before+100 }) // it goes on

	within, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	if err := edge.HandOver(within, successorOf(t, "serves"), status, l); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cancel(edge.ErrHandedOver)
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it lingered for %v", took)
	}
	res, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	pid, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatalf("answered by %q", body)
	}
	for what, stop := range map[string]func() (int64, error){"kept": stopKept, "new": stopNew} {
		if n, err := stop(); err != nil || n < 100 {
			t.Errorf("%s connections: %d requests, then %v", what, n, err)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// The name of a socket is that of the process that has taken over.
func TestHandOverOfANamedSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	within, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	if err := edge.HandOver(within, successorOf(t, "serves"), l); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", name)
	}}}
	res, err := client.Get("http://shop.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	pid, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatalf("answered by %q", body)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestHandOverRefuses(t *testing.T) {
	closed := testkit.Listen(t)
	closed.Close()
	l := testkit.Listen(t)
	for name, c := range map[string]struct {
		cmd  func(*exec.Cmd)
		ls   []net.Listener
		want string
	}{
		"nothing":      {nil, nil, "no listener"},
		"a closed one": {nil, []net.Listener{l, closed}, "use of closed"},
		"no socket":    {nil, []net.Listener{newPipeListener()}, "is no socket"},
		"output":       {func(c *exec.Cmd) { c.Stdout = new(bytes.Buffer) }, []net.Listener{l}, "*bytes.Buffer: want an *os.File"},
		"files":        {func(c *exec.Cmd) { c.ExtraFiles = []*os.File{os.Stdin} }, []net.Listener{l}, "ExtraFiles"},
	} {
		cmd := successorOf(t, "serves")
		if c.cmd != nil {
			c.cmd(cmd)
		}
		if err := edge.HandOver(t.Context(), cmd, c.ls...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if cmd.Process != nil {
			t.Errorf("%s: a process was started", name)
		}
	}
	if edge.Succeeds() || edge.TookOver() != nil {
		t.Error("this process was started by nobody who hands over")
	}
}
