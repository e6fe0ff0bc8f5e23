package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// TestMain is the program itself in a process that a test has started.
func TestMain(m *testing.M) {
	if os.Getenv("DATABASE_TEST_MAIN") == "" {
		os.Exit(m.Run())
	}
	signal.Reset(os.Interrupt) // a shell's background jobs ignore it
	os.Args = append(os.Args[:1], strings.Fields(os.Getenv("DATABASE_TEST_MAIN"))...)
	main()
}

// TestSecondSignalEndsAtOnce: the first one lets a connection end, the second
// waits for nobody.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	backend := testkit.Backend(t, testkit.Echo("db1"))
	status := freeAddr(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DATABASE_TEST_MAIN=-kind tcp -linger 1m -listen 127.0.0.1:0 -backends tcp://"+backend+" -status "+status)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	addr := ""
	for lines := bufio.NewScanner(log); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "address=")
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	conn, err := net.Dial("tcp", strings.TrimSpace(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ready := func() int {
		res, err := http.Get("http://" + status + "/readyz")
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	testkit.Within(t, patience, "it is ready", func() bool { return ready() == http.StatusOK })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, patience, "it says that it drains", func() bool { return ready() == http.StatusServiceUnavailable })
	if c, err := net.Dial("tcp", strings.TrimSpace(addr)); err != nil {
		t.Errorf("it does not linger: %v", err)
	} else {
		c.Close()
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
			t.Errorf("it ended with %v, want the signal", err)
		}
	case <-time.After(patience):
		t.Error("a second signal does not end it")
	}
}
