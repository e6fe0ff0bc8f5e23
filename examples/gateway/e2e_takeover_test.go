//go:build e2e

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A lineage is a gateway and those that take over from it, one log for all.
type lineage struct {
	t     *testing.T
	first *exec.Cmd
	ended chan error // of the first
	log   string     // file
	files []*os.File // passed on to the first
}

// startLineage starts a program, which inherits the files as a service manager passes
// them on.
func startLineage(t *testing.T, files []*os.File, bin string, args ...string) *lineage {
	t.Helper()
	l := &lineage{t: t, log: filepath.Join(t.TempDir(), "log"), ended: make(chan error, 1), files: files}
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l.first = exec.Command(bin, args...)
	if len(files) > 0 { // as the manager does between fork and exec
		l.first = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", bin}, args...)...)
		l.first.Env = append(os.Environ(), "LISTEN_FDS="+strconv.Itoa(len(files)))
		l.first.ExtraFiles = files
	}
	l.first.Stderr = log
	l.first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // which those that follow belong to
	if err := l.first.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.ended <- l.first.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-l.first.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the log:\n%s", tail(l.text(), 6000))
		}
	})
	return l
}

func (l *lineage) text() string {
	b, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// says waits until n lines have all of the words, and returns the last.
func (l *lineage) says(n int, words ...string) (last string) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("%d lines with %q", n, words), func() bool {
		found := 0
	lines:
		for line := range strings.Lines(l.text()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			found++
			last = line
		}
		return found >= n
	})
	return last
}

var pidOf = regexp.MustCompile(`pid=(\d+)`)

// takeOver has another gateway take over from the one that pid is, and returns its pid.
func (l *lineage) takeOver(pid, nth int) int {
	l.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		l.t.Fatal(err)
	}
	l.says(nth, "level=INFO", `"another gateway has taken over"`)
	next, err := strconv.Atoi(pidOf.FindStringSubmatch(l.says(nth, "level=INFO", `"this gateway has taken over"`))[1])
	if err != nil || next == pid {
		l.t.Fatalf("the pid of the other: %d, %v", next, err)
	}
	return next
}

// endsWell waits until the first has ended.
func (l *lineage) endsWell() {
	l.t.Helper()
	select {
	case err := <-l.ended:
		if err != nil {
			l.t.Errorf("the first ended with %v", err)
		}
	case <-time.After(time.Minute):
		l.t.Fatal("the first has not ended")
	}
}

// pagedShop answers pages that are stored for an hour, and orders; it counts the pages
// that it was asked for.
// It calls slow for /slow, once.
func pagedShop(t *testing.T, slow func()) (url string, pages *atomic.Int64) {
	pages = new(atomic.Int64)
	return backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if r.Method == "GET" && r.URL.Path != "/healthz" {
			pages.Add(1)
		}
		if r.URL.Path == "/slow" {
			slow()
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = io.WriteString(w, "page "+r.URL.Path)
	}), pages
}

const shopPages = 20

func shopPage(n int64) string { return fmt.Sprint("/", n%shopPages) }

// A gateway is followed by another three times under load, over HTTP and HTTPS: no
// request is lost, by kept connections nor by new ones, and nothing that was in the cache
// is asked for again; without -redis-cache, where nobody knows what has been purged, each
// page is once, behind the visitors' back.
func TestE2ETakeOver(t *testing.T) {
	bin := buildGateway(t)
	for name, c := range map[string]struct {
		scheme string
		again  int64 // how often each page may be asked for again
	}{"http": {"http", 0}, "https": {"https", 0}, "alone": {"http", 3}} {
		t.Run(name, func(t *testing.T) {
			scheme := c.scheme
			arrived, answer := make(chan struct{}), make(chan struct{})
			backend, asked := pagedShop(t, func() { close(arrived); <-answer })
			dir := t.TempDir()
			addr := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
			status := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
			args := []string{"-listen", addr, "-backends", backend, "-probe", "/healthz", "-status", status, "-log", "off",
				"-cache-snapshot", filepath.Join(dir, "pages")}
			if c.again == 0 {
				args = append(args, "-redis-cache", "redis://"+servertest.Redis(t).Addr)
			}
			if scheme == "https" {
				cert, key := testkit.Files(t, dir, "shop", testkit.NewAuthority(t).Issue(t, "shop.example"))
				args = append(args, "-tls-cert", cert, "-tls-key", key)
			}
			l := startLineage(t, nil, bin, args...)
			l.says(1, "msg=serving")
			until(t, "readiness", func() bool { code, _, err := get(t, "http://"+status+"/readyz"); return err == nil && code == 200 })
			crowd := startCrowd(t, scheme+"://"+addr, shopPage)
			crowd.passes(t, 300)
			slow := make(chan string, 1)
			go func() {
				client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // whose certificate does not matter
				res, err := client.Get(scheme + "://" + addr + "/slow")
				if err != nil {
					slow <- err.Error()
					return
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				slow <- fmt.Sprint(res.StatusCode, " ", string(body), " ", err)
			}()
			<-arrived
			before := asked.Load()
			pid := l.first.Process.Pid
			for nth := 1; nth <= 3; nth++ {
				pid = l.takeOver(pid, nth)
				if code, _, err := get(t, "http://"+status+"/readyz"); code != 200 || err != nil {
					t.Errorf("/readyz after %d: %d, %v", nth, code, err)
				}
				crowd.passes(t, 300)
			}
			l.says(3, "msg=draining", "linger_s=0 ") // though -linger is 10 s
			if strings.Contains(l.text(), "level=ERROR") {
				t.Errorf("there are errors: %s", l.text())
			}
			close(answer)
			if got := <-slow; got != "200 page /slow <nil>" {
				t.Errorf("what was on its way got %s", got)
			}
			l.endsWell()
			crowd.ends(t)
			if n := asked.Load() - before; n > c.again*shopPages {
				t.Errorf("pages were asked for again %d times", n)
			}
			if n := strings.Count(l.text(), `msg="the cache is as it was" responses=20`); n != 3 {
				t.Errorf("%d caches were as they were", n)
			}
		})
	}
}

// What cannot take over does not, whatever is wrong with it, and the first goes on.
func TestE2ETakeOverFails(t *testing.T) {
	backend, _ := pagedShop(t, nil)
	dir := t.TempDir()
	bin, good := filepath.Join(dir, "gateway"), buildGateway(t)
	put := func(path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", content, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	put(bin, program)
	addr := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	l := startLineage(t, nil, bin, "-listen", addr, "-backends", backend, "-probe", "/healthz", "-log", "off", "-cache", "0", "-linger", "0")
	l.says(1, "msg=serving")
	crowd := startCrowd(t, "http://"+addr, shopPage)
	crowd.passes(t, 50)
	pid := l.first.Process.Pid
	fails := func(nth int, cause string) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		if line := l.says(nth, "level=ERROR", `"no other gateway has taken over, this one goes on"`); !strings.Contains(line, cause) {
			t.Errorf("want %s: %s", cause, line)
		}
		crowd.passes(t, 50)
	}
	put(bin, []byte("#!/bin/sh\nexit 7\n"))
	fails(1, "exit status 7")
	put(bin, []byte("no program"))
	fails(2, "exec format error")
	if err := os.Remove(bin); err != nil {
		t.Fatal(err)
	}
	fails(3, "no such file")
	with := func(flags string) { put(bin, fmt.Appendf(nil, "#!/bin/sh\nexec %s \"$@\" %s\n", good, flags)) }
	with("-backends http://" + testkit.Nobody(t))
	fails(4, "exit status 1")
	l.says(1, "gateway: this gateway does not take over: balancer: no backend available")
	with("-backends nonsense")
	fails(5, "exit status 2")
	put(bin, program)
	next := l.takeOver(pid, 1)
	l.endsWell()
	crowd.passes(t, 50)
	crowd.ends(t)

	// Who is told to end ends with the one that is about to take over.
	put(bin, []byte("#!/bin/sh\necho it hangs >&2\nexec sleep 600\n"))
	if err := syscall.Kill(next, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	l.says(1, "it hangs")
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.says(1, "this gateway ends, and so does the one that was to take over")
	until(t, "nobody on the socket", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// A service manager holds the socket while one gateway ends and the next one starts:
// connections wait, and no request is lost.
func TestE2ESocketActivation(t *testing.T) {
	backend, asked := pagedShop(t, nil)
	bin, snapshot := buildGateway(t), filepath.Join(t.TempDir(), "pages")
	public, status := testkit.Listen(t), testkit.Listen(t)
	files := func(ls ...net.Listener) (out []*os.File) {
		for _, l := range ls {
			f, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			out = append(out, f)
		}
		return out
	}
	args := []string{"-listen", "127.0.0.1:1", "-backends", backend, "-probe", "/healthz", "-log", "off", "-linger", "0",
		"-redis-cache", "redis://" + servertest.Redis(t).Addr, "-cache-snapshot", snapshot, "-status", "127.0.0.1:1"}
	both := files(public, status)
	l := startLineage(t, both, bin, args...)
	l.says(1, "msg=serving", "addr="+public.Addr().String())
	if code, _, err := get(t, "http://"+status.Addr().String()+"/readyz"); code != 200 || err != nil {
		t.Errorf("/readyz at the second socket: %d, %v", code, err)
	}
	crowd := startCrowd(t, "http://"+public.Addr().String(), shopPage)
	crowd.passes(t, 300)
	before := asked.Load()
	for range 3 {
		if err := syscall.Kill(l.first.Process.Pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		l.endsWell()
		l = startLineage(t, both, bin, args...)
		crowd.passes(t, 300)
	}
	crowd.ends(t)
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d pages were asked for again", n)
	}

	// What is passed on wrongly is told before anything is served.
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer pipe.Close()
	for what, c := range map[string]struct {
		files []*os.File
		want  string
	}{
		"three sockets": {append(files(public), both...), "1 sockets too many are passed on"},
		"no socket":     {[]*os.File{pipe}, "descriptor 3 is no listening socket"},
	} {
		l := startLineage(t, c.files, bin, args...)
		err := <-l.ended
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.Contains(l.text(), c.want) {
			t.Errorf("%s: %v, %s", what, err, l.text())
		}
	}
	// Those of another process are not this one's.
	l = startLineage(t, nil, "env", append([]string{"LISTEN_PID=1", "LISTEN_FDS=1", bin}, append(args, "-listen", "127.0.0.1:0", "-status", "127.0.0.1:0")...)...)
	l.says(1, "msg=serving")
	if strings.Contains(l.text(), "addr="+public.Addr().String()+" ") {
		t.Error("it serves on a socket that is not its own")
	}
}
