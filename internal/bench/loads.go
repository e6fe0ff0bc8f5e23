//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/bench/load"
)

// A count is how much was asked and answered.
type count struct {
	n       int
	seconds float64
	used    float64 // seconds of CPU that the load itself took
}

// A loader sends a load to a contender for a while.
type loader func(b *bench, ctx context.Context, c *running, a asking, d time.Duration) (count, error)

// wrk saturates over HTTP/1.1, with TLS if the contender has it.
func wrk(conns int) loader {
	return func(b *bench, ctx context.Context, c *running, a asking, d time.Duration) (count, error) {
		scheme := "http"
		if c.setup.TLS {
			scheme = "https"
		}
		argv := []string{"wrk", "-t1", "-c" + strconv.Itoa(conns), fmt.Sprintf("-d%ds", max(1, int(d.Seconds())))} // whole ones only
		path := ""
		if first := a.requests[0]; len(a.requests) == 1 {
			path = first.path
			for _, line := range first.header {
				argv = append(argv, "-H", line)
			}
			if first.method != "GET" {
				script := fmt.Sprintf("wrk.method = %q\nwrk.body = string.rep(\"x\", %d)\n", first.method, first.body)
				if err := os.WriteFile(filepath.Join(c.dir, "ask.lua"), []byte(script), 0o600); err != nil {
					return count{}, err
				}
				argv = append(argv, "-s", "ask.lua")
			}
		} else {
			if err := writeScript(c, a); err != nil {
				return count{}, err
			}
			argv = append(argv, "-s", "ask.lua")
		}
		argv = append(argv, scheme+"://"+c.addr+path)
		c.load = argv
		out, used, err := run(ctx, b.loadCPU, d, c.dir, nil, argv...)
		if err != nil {
			return count{}, err
		}
		n, err := parseWrk(out)
		n.used = used
		return n, err
	}
}

// writeScript has wrk send several requests in an order. They are read from
// files: Lua takes no more than 65,536 constants.
func writeScript(c *running, a asking) error {
	const script = `local ask, order, turn = {}, {}, 0
function init()
	for r in io.open("ask.txt"):read("*a"):gmatch("([^%z]+)%z") do ask[#ask + 1] = r end
	for i in io.lines("order.txt") do order[#order + 1] = i + 1 end
end
function request()
	turn = turn % #order + 1
	return ask[order[turn]]
end
`
	var asks, order strings.Builder
	for _, r := range a.requests {
		asks.Write(r.raw(c.addr))
		asks.WriteByte(0)
	}
	for _, i := range a.order {
		order.WriteString(strconv.Itoa(int(i)) + "\n")
	}
	for name, text := range map[string]string{"ask.lua": script, "ask.txt": asks.String(), "order.txt": order.String()} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

var (
	wrkCount  = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate   = regexp.MustCompile(`(?m)^Requests/sec:\s*([\d.]+)`)
	wrkErrors = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// parseWrk reads what wrk prints. Errors and refusals make it no figure: an error
// page is cheaper than what was asked for.
func parseWrk(out string) (count, error) {
	n, rate := wrkCount.FindStringSubmatch(out), wrkRate.FindStringSubmatch(out)
	if n == nil || rate == nil {
		return count{}, fmt.Errorf("wrk printed %q", out)
	}
	if m := wrkStatus.FindStringSubmatch(out); m != nil {
		return count{}, fmt.Errorf("%s of %s answers were errors", m[1], n[1])
	}
	if m := wrkErrors.FindStringSubmatch(out); m != nil {
		return count{}, errors.New(strings.TrimSpace(m[0]))
	}
	var c count
	c.n, _ = strconv.Atoi(n[1])
	perSecond, _ := strconv.ParseFloat(rate[1], 64)
	if c.n == 0 || perSecond == 0 {
		return count{}, errors.New("wrk got no answer")
	}
	c.seconds = float64(c.n) / perSecond
	return c, nil
}

// h2load saturates over HTTP/2 and TLS. It is told how many requests fill the
// time, from how fast it was before: told a time, it may wait for ever for servers
// that do not close.
func h2load(conns, streams int) loader {
	return func(b *bench, ctx context.Context, c *running, a asking, d time.Duration) (count, error) {
		const first = 2000
		n := max(first, int(c.rate*d.Seconds()))
		argv := []string{"h2load", "-t1", "-c" + strconv.Itoa(conns), "-m" + strconv.Itoa(streams), "-n" + strconv.Itoa(n)}
		for _, line := range a.requests[0].header {
			argv = append(argv, "-H", line)
		}
		argv = append(argv, "https://"+c.addr+a.requests[0].path)
		c.load = argv
		out, used, err := run(ctx, b.loadCPU, d, c.dir, nil, argv...)
		if err != nil {
			return count{}, err
		}
		got, err := parseH2load(out)
		got.used, c.rate = used, over0(float64(got.n), got.seconds)
		return got, err
	}
}

var (
	h2Finished = regexp.MustCompile(`(?m)^finished in [^,]+, ([\d.]+) req/s`)
	h2Requests = regexp.MustCompile(`(?m)^requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2Protocol = regexp.MustCompile(`(?m)^Application protocol: (\S+)`)
)

func parseH2load(out string) (count, error) {
	rate, n := h2Finished.FindStringSubmatch(out), h2Requests.FindStringSubmatch(out)
	if rate == nil || n == nil {
		return count{}, fmt.Errorf("h2load printed %q", out)
	}
	if m := h2Protocol.FindStringSubmatch(out); m == nil || m[1] != "h2" {
		return count{}, errors.New("h2load spoke no HTTP/2")
	}
	if n[2] != "0" || n[3] != "0" || n[4] != "0" {
		return count{}, errors.New(n[0])
	}
	var c count
	c.n, _ = strconv.Atoi(n[1])
	perSecond, _ := strconv.ParseFloat(rate[1], 64)
	if c.n == 0 || perSecond == 0 {
		return count{}, errors.New("h2load got no answer")
	}
	c.seconds = float64(c.n) / perSecond
	return c, nil
}

// own runs a load of this program's.
func (b *bench) own(ctx context.Context, c *running, s load.Spec) (load.Result, float64, error) {
	s.Addr = c.addr
	in, err := json.Marshal(s)
	if err != nil {
		return load.Result{}, 0, err
	}
	out, used, err := run(ctx, b.loadCPU, time.Duration(s.Seconds*float64(time.Second)), c.dir, strings.NewReader(string(in)), b.self, "load")
	if err != nil {
		return load.Result{}, 0, err
	}
	var res load.Result
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		return load.Result{}, 0, err
	}
	if res.Failed > 0 && s.Rate == 0 {
		return res, 0, fmt.Errorf("%d of %d failed: %s", res.Failed, res.Done+res.Failed, res.Why)
	}
	return res, used, nil
}

func (a asking) raw(addr string) (out [][]byte) {
	for _, r := range a.requests {
		out = append(out, r.raw(addr))
	}
	return out
}

// counted is own as a loader.
func counted(spec func(c *running, a asking) load.Spec) loader {
	return func(b *bench, ctx context.Context, c *running, a asking, d time.Duration) (count, error) {
		s := spec(c, a)
		s.Seconds = d.Seconds()
		c.load = []string{"bench", "load", s.Kind}
		res, used, err := b.own(ctx, c, s)
		return count{res.Done, res.Seconds, used}, err
	}
}

// exchanges are what wrk does, by this program: wrk waits for the body of a 304
// that says how long the page is, as HAProxy's does.
func exchanges(conns int) loader {
	return counted(func(c *running, a asking) load.Spec {
		return load.Spec{Kind: "exchange", Conns: conns, Ask: a.raw(c.addr), Order: a.order}
	})
}

// handshakes are new connections with a request each.
func handshakes(conns int) loader {
	return counted(func(c *running, a asking) load.Spec {
		return load.Spec{Kind: "handshakes", Conns: conns, Ask: a.raw(c.addr)}
	})
}

// messages go back and forth over websockets.
func messages(conns int) loader {
	const size = 100 // below 126: a frame's short form, masked by zeros
	frame := append([]byte{0x82, 0x80 | size, 0, 0, 0, 0}, strings.Repeat("x", size)...)
	return counted(func(c *running, a asking) load.Spec {
		return load.Spec{Kind: "exchange", Conns: conns, Hello: a.requests[0].raw(c.addr), Ask: [][]byte{frame}, Frame: 2 + size}
	})
}
