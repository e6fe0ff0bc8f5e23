//go:build e2e

// Package e2e runs the gateway as an operator would, as a process in front of
// processes, and does to them what happens to servers:
//
//	go test -tags e2e -v -run TestE2E ./balancer/e2e
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// build returns the path of the program in the folder.
func build(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(folder))
	out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, out)
	}
	return path
}

// sample is one request.
type sample struct {
	at    time.Duration // since the start
	took  time.Duration
	order string // empty: a GET
	err   string // empty: answered 200
}

// ask sends one request and reads the whole answer.
func ask(c *http.Client, method, url string) (failure string) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	res, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err.Error()
	}
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return ""
}

// load asks from many connections until ctx ends, one request in ten an order. Each
// is another visitor's: what fails for one address alone takes no backend out.
func load(ctx context.Context, base string, connections int) []sample {
	start := time.Now()
	var mu sync.Mutex
	var all []sample
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
			transport := &http.Transport{DialContext: dialer.DialContext}
			defer transport.CloseIdleConnections()
			c := &http.Client{Transport: transport, Timeout: time.Minute}
			var own []sample
			for n := 0; ctx.Err() == nil; n++ {
				s := sample{at: time.Since(start)}
				if n%10 == i%10 {
					s.order = fmt.Sprintf("%d-%d", i, n)
					s.err = ask(c, "POST", base+"/order?id="+s.order)
				} else {
					s.err = ask(c, "GET", base+"/page")
				}
				s.took = time.Since(start) - s.at
				own = append(own, s)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	wg.Wait()
	return all
}

// p99 returns the 99th percentile of the GETs that began or ended within.
func p99(all []sample, within func(at, end time.Duration) bool) (time.Duration, int) {
	var took []time.Duration
	for _, s := range all {
		if s.order == "" && within(s.at, s.at+s.took) {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)*99/100], len(took)
}

// TestE2EChaos kills one of three backends, stops another for five seconds,
// and lets the third answer 500 for five, one after the other, under 64
// connections. No GET fails, no order is executed twice, and outside the time
// in which a backend is stopped the 99th percentile is at most twice the
// steady one.
func TestE2EChaos(t *testing.T) {
	program, gateway := build(t, "./backend"), build(t, "../../examples/gateway")
	orders := filepath.Join(t.TempDir(), "orders")
	var backends []*servertest.Server
	var urls []string
	for range 3 {
		port := servertest.FreePort(t)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		backends = append(backends, servertest.Start(t, port, program, addr, orders))
		urls = append(urls, "http://"+addr)
	}
	port := servertest.FreePort(t)
	front := servertest.Start(t, port, gateway, "-listen", fmt.Sprintf("127.0.0.1:%d", port),
		"-backends", strings.Join(urls, ","), "-probe", "/healthz", "-cache", "0", "-log", "off")

	start := time.Now()
	// The timetable of the trouble, for processes that know no fake clock.
	until := func(d time.Duration) { time.Sleep(time.Until(start.Add(d))) }
	const steady, stopped, resumed, end = 6 * time.Second, 13 * time.Second, 18 * time.Second, 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), end)
	defer cancel()
	done := make(chan []sample)
	go func() { done <- load(ctx, "http://"+front.Addr, 64) }()
	until(steady)
	backends[0].Kill()
	until(steady + 5*time.Second)
	backends[0].Restart()
	until(stopped)
	backends[1].Pause()
	until(resumed)
	backends[1].Resume()
	until(resumed + 2*time.Second)
	if failure := ask(http.DefaultClient, "POST", urls[2]+"/break?for=5s"); failure != "" {
		t.Error(failure)
	}
	all := <-done

	gets, failed := 0, map[string]int{}
	accepted := map[string]bool{}
	for _, s := range all {
		switch {
		case s.order != "":
			accepted[s.order] = s.err == ""
		case s.err != "":
			failed[fmt.Sprintf("%s at %v", s.err, s.at.Round(time.Second/10))]++
		default:
			gets++
		}
	}
	for what, n := range failed {
		t.Errorf("%d GETs failed: %s", n, what)
	}
	list, err := os.ReadFile(orders)
	if err != nil {
		t.Fatal(err)
	}
	executed := map[string]int{}
	for id := range bytes.Lines(list) {
		executed[string(bytes.TrimSpace(id))]++
	}
	for id, n := range executed {
		if n > 1 {
			t.Errorf("order %s was executed %d times", id, n)
		}
		delete(accepted, id)
	}
	for id, ok := range accepted {
		if ok {
			t.Errorf("order %s was accepted and never executed", id)
		}
	}
	calm, _ := p99(all, func(at, end time.Duration) bool { return at > time.Second && end < steady })
	rest, n := p99(all, func(at, end time.Duration) bool {
		return at > steady && (end < stopped || at > resumed)
	})
	t.Logf("%d GETs, %d orders; p99 %v steady, %v of %d in trouble", gets, len(executed), calm, rest, n)
	if calm == 0 || rest > 2*calm {
		t.Errorf("p99 in trouble is %v, more than twice the steady %v", rest, calm)
	}
}
