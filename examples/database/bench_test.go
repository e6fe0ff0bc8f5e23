//go:build e2e

package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// BenchmarkBesideHAProxy runs this program and HAProxy (mode tcp) in turn, one
// thread each on CPU 0, between a client and a server on the other CPU, and
// prints what this one does as a ratio of what HAProxy does:
//
//	taskset -c 1 go test -tags e2e -run '^$' -bench HAProxy -benchtime 1x ./examples/database
//
// bulk is one connection that brings zeros; short is connections that carry
// 100 bytes each way, eight at a time. What counts is work done for a second
// of the proxy's CPU, because client and server may be slower than either.
func BenchmarkBesideHAProxy(b *testing.B) {
	servertest.Require(b, "taskset")
	haproxy := servertest.Require(b, "haproxy")
	dir := b.TempDir()
	program := filepath.Join(dir, "database")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	zeros, ping := serveZeros(b), servePing(b)
	start := func(what string, args ...string) *servertest.Server {
		port, err := strconv.Atoi(args[0])
		if err != nil {
			b.Fatal(err)
		}
		return servertest.Start(b, port, append([]string{"taskset", "-c", "0", "env", "GOMAXPROCS=1", what}, args[1:]...)...)
	}
	besides := func(backend string) (ours, theirs *servertest.Server) {
		port := strconv.Itoa(servertest.FreePort(b))
		ours = start(program, port, "-kind", "tcp", "-listen", "127.0.0.1:"+port, "-backends", "tcp://"+backend)
		port = strconv.Itoa(servertest.FreePort(b))
		conf := filepath.Join(dir, port+".cfg")
		text := fmt.Sprintf("global\n nbthread 1\ndefaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"+
			"listen l\n bind 127.0.0.1:%s\n server s %s check\n", port, backend)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return ours, start(haproxy, port, "-db", "-f", conf)
	}
	const rounds = 5
	for _, c := range []struct {
		name, unit string
		backend    string
		want       float64
		work       func(testing.TB, string, time.Duration) float64
	}{
		{"bulk", "MiB", zeros, 0.9, bulk},
		{"short", "connections", ping, 0.5, short},
	} {
		b.Run(c.name, func(b *testing.B) {
			ours, theirs := besides(c.backend)
			for b.Loop() {
				var perCPU, perSecond, own, other []float64
				for range rounds {
					a, x := measure(b, ours, c.work), measure(b, theirs, c.work)
					perCPU = append(perCPU, a.perCPU/x.perCPU)
					perSecond = append(perSecond, a.perSecond/x.perSecond)
					own, other = append(own, a.perCPU), append(other, x.perCPU)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(own), c.unit+"/CPU-s")
				b.ReportMetric(median(other), "HAProxy-"+c.unit+"/CPU-s")
				b.ReportMetric(median(perCPU), "x-HAProxy/CPU-s")
				b.ReportMetric(median(perSecond), "x-HAProxy/s")
				if got := median(perCPU); got < c.want {
					b.Errorf("%s: %.2f of what HAProxy does for a second of CPU, want %.2f", c.name, got, c.want)
				}
			}
		})
	}
}

type measured struct{ perCPU, perSecond float64 }

// measure has work done through s.
func measure(tb testing.TB, s *servertest.Server, work func(testing.TB, string, time.Duration) float64) measured {
	tb.Helper()
	const lasts = 2 * time.Second
	before, begun := s.CPU(), time.Now()
	n := work(tb, s.Addr, lasts)
	took, used := time.Since(begun).Seconds(), (s.CPU() - before).Seconds()
	return measured{n / used, n / took}
}

func median(x []float64) float64 {
	x = slices.SortedFunc(slices.Values(x), cmp.Compare)
	return x[len(x)/2]
}

// serveZeros sends until nobody listens.
func serveZeros(tb testing.TB) string {
	return testkit.Backend(tb, func(c net.Conn) {
		for buf := make([]byte, 1<<20); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
}

func servePing(tb testing.TB) string {
	return testkit.Backend(tb, func(c net.Conn) {
		buf := make([]byte, 100)
		if _, err := io.ReadFull(c, buf); err == nil {
			_, _ = c.Write(buf)
		}
	})
}

// bulk returns how many MiB came in that time. The kernel throws them away.
func bulk(tb testing.TB, addr string, lasts time.Duration) float64 {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	buf := make([]byte, 4<<20)
	var total int
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			return failed != syscall.EAGAIN
		})
		if err := cmp.Or(err, failed); err != nil || n == 0 {
			tb.Fatalf("after %d bytes: %v", total, err)
		}
		total += n
	}
	return float64(total) / (1 << 20)
}

// short returns how many connections were served in that time.
func short(tb testing.TB, addr string, lasts time.Duration) float64 {
	var clients sync.WaitGroup
	counts := make([]int, 8)
	end := time.Now().Add(lasts)
	for i := range counts {
		clients.Go(func() {
			buf := make([]byte, 100)
			for time.Now().Before(end) {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					tb.Error(err)
					return
				}
				_, err = c.Write(buf)
				if err == nil {
					_, err = io.ReadFull(c, buf)
				}
				// With a reset: nothing is left in TIME_WAIT.
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
				if err != nil {
					tb.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	clients.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total)
}
