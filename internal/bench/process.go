//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server that was started here, on one CPU.
type process struct {
	addr string
	argv []string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	out  string        // file with what it has printed
}

// pinned is a command line on one CPU.
func pinned(cpu int, argv ...string) []string {
	return append([]string{"taskset", "-c", strconv.Itoa(cpu)}, argv...)
}

// start runs argv on a CPU and waits until addr accepts connections. What it
// prints goes to a file in dir; files become its descriptors from 3 on.
func start(ctx context.Context, cpu int, dir, addr string, argv []string, files ...*os.File) (*process, error) {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{addr: addr, argv: argv, done: make(chan struct{}), out: out.Name()}
	argv = pinned(cpu, argv...)
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = dir, out, out, files
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours, to end all in order
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in its output
		close(p.done)
	}()
	if err := p.ready(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(p.argv[0]), err, p.output())
	}
	return p, nil
}

func (p *process) ready(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return errors.New("ended at once")
		case <-timeout:
			return fmt.Errorf("accepts no connection: %w", err)
		case <-tick.C:
		}
	}
}

// output returns the end of what it has printed.
func (p *process) output() string {
	text, err := os.ReadFile(p.out)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}

// stop ends the process and waits for it; what is left of its group is killed.
func (p *process) stop() {
	pid := p.cmd.Process.Pid
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	timeout := time.NewTimer(5 * time.Second)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // the group is ours: no other has its id while one of it lives
	<-p.done
}

// tree returns the ids of a process and all below it.
func (p *process) tree() []int {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		if fields := statFields(file); fields != nil {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields are those of a /proc/PID/stat behind the program's name, which may
// hold anything; nil if it has ended.
func statFields(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	i := strings.LastIndex(string(text), ") ")
	if i < 0 {
		return nil
	}
	return strings.Fields(string(text)[i+2:])
}

// cpu returns how many seconds of CPU the processes of the tree have used.
func (p *process) cpu() float64 {
	const user, system, ticks = 11, 12, 100
	var sum int
	for _, pid := range p.tree() {
		if fields := statFields(fmt.Sprintf("/proc/%d/stat", pid)); len(fields) > system {
			u, _ := strconv.Atoi(fields[user])
			s, _ := strconv.Atoi(fields[system])
			sum += u + s
		}
	}
	return float64(sum) / ticks
}

// memory returns the bytes of memory of the tree's own: what is mapped from
// files, such as Varnish's log, does not count.
func (p *process) memory() (sum int64) {
	for _, pid := range p.tree() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.SplitSeq(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}

// freePort returns a loopback port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run runs a command that takes about d, on a CPU, and returns what it printed and
// how much CPU it used.
func run(ctx context.Context, cpu int, d time.Duration, dir string, in io.Reader, argv ...string) (out string, used float64, err error) {
	argv = pinned(cpu, argv...)
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = dir, in
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = errors.New("did not end in time")
		}
		return "", 0, fmt.Errorf("%s: %w: %s%s", argv[3], err, stdout.String(), stderr.String())
	}
	return stdout.String(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}
