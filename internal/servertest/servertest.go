// Package servertest starts real servers for tests: on free loopback ports,
// from Debian's packages, with their data in the test's own directory, ended
// by their own process ids.
//
// A server that is not installed skips the test, and fails it where CI is set.
package servertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// A Server is a running program that listens on Addr.
type Server struct {
	Addr string // host:port on loopback

	tb   testing.TB
	argv []string
	end  func(pid int) // what Kill does
	cmd  *exec.Cmd
	out  *testkit.Log
	done chan struct{} // closed when cmd has been waited for
}

// Redis starts an empty Redis that persists nothing. args are added to its
// command line.
func Redis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	port := FreePort(tb)
	return Start(tb, port, append([]string{"redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", tb.TempDir()}, args...)...)
}

// Memcached starts an empty memcached. args are added to its command line.
func Memcached(tb testing.TB, args ...string) *Server {
	tb.Helper()
	port := FreePort(tb)
	return Start(tb, port, append([]string{"memcached", "-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p", strconv.Itoa(port)}, args...)...)
}

// Start runs argv, waits until port accepts a connection, and ends the program
// when the test ends.
func Start(tb testing.TB, port int, argv ...string) *Server {
	tb.Helper()
	return newServer(tb, port, argv...).begin()
}

// newServer returns a Server that is still to begin.
func newServer(tb testing.TB, port int, argv ...string) *Server {
	tb.Helper()
	path := Require(tb, argv[0])
	return &Server{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		tb:   tb,
		argv: append([]string{path}, argv[1:]...),
		end:  kill,
	}
}

// begin starts the program until the test ends.
func (s *Server) begin() *Server {
	s.tb.Helper()
	s.Restart()
	s.tb.Cleanup(s.Kill)
	return s
}

// Require returns the path of an installed program; without it the test is
// skipped, or fails in CI.
func Require(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, program))
		}
	}
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("%s is not installed: make install", program)
	}
	tb.Skipf("%s is not installed: make install", program)
	return ""
}

// Restart starts the program again, at the same address, after Kill.
func (s *Server) Restart() {
	s.tb.Helper()
	s.out = new(testkit.Log)
	s.done = make(chan struct{})
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = ownGroup()
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatalf("%s: %v", s.argv[0], err)
	}
	go func() {
		_ = s.cmd.Wait() // how it ended shows in its output
		close(s.done)
	}()
	if err := s.wait(20 * time.Second); err != nil {
		s.Kill()
		s.tb.Fatalf("%s: %v\n%s", s.argv[0], err, s.out)
	}
}

// wait returns once the server accepts connections.
func (s *Server) wait(limit time.Duration) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return errors.New("ended at once")
		case <-timeout:
			return fmt.Errorf("accepts no connection on %s: %w", s.Addr, err)
		case <-tick.C:
		}
	}
}

// Kill ends the program with SIGKILL, or PostgreSQL at once with SIGQUIT, and waits
// for its end.
func (s *Server) Kill() {
	s.running(s.end)
	<-s.done
}

// Pause stops the program with SIGSTOP: it keeps its connections and answers
// nothing. Resume goes on. Only Unix can.
func (s *Server) Pause()  { s.running(pause) }
func (s *Server) Resume() { s.running(resume) }

// running calls f with the process id, unless it may be another's by now.
func (s *Server) running(f func(pid int)) {
	select {
	case <-s.done:
	default:
		f(s.cmd.Process.Pid)
	}
}

// PID returns the program's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// CPU returns how much CPU time the program has used, to a hundredth of a
// second, where there is a /proc.
func (s *Server) CPU() time.Duration {
	s.tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		s.tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	var ticks int
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			s.tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// Wait waits for the program to end by itself and returns its exit code.
func (s *Server) Wait() int {
	<-s.done
	return s.cmd.ProcessState.ExitCode()
}

// Output returns what the program has printed.
func (s *Server) Output() string { return s.out.String() }

// The ports that FreePort has: below those that a system gives to whoever asks for any,
// and to connections.
const firstPort, lastPort = 10000, 32000

// FreePort returns a loopback port that nobody listens on, and, on Linux, that it gives
// to nobody else until the test ends, not to tests of other packages either.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range lastPort - firstPort {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue // it is somebody's
		}
		_ = l.Close() // nobody knows of it
		if reserve(tb, port) {
			return port
		}
	}
	tb.Fatal("there is no free port")
	return 0
}

// reserve reports whether port was not reserved, and is from now on, by a name that ends
// with its process.
func reserve(tb testing.TB, port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	l, err := net.Listen("unix", fmt.Sprintf("@foretier-test-port-%d", port))
	if err != nil {
		return false
	}
	tb.Cleanup(func() { _ = l.Close() }) // which is over either way
	return true
}
