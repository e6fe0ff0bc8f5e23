//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/bench/load"
)

// A bench is what all workloads share.
type bench struct {
	root, dir, self    string // the repository, the files of this run, this program
	serverCPU, loadCPU int
	rounds             int
	time, short        time.Duration // of each load in the rounds, and of others
	pages              int           // of hit-zipf
	idleConns          int
	idleTime           time.Duration
	programs           programs
	counting           programs // the same gateways, with their allocations counted
	origin             *process
	php                *process // nil until a workload needs it
	cert, key          []byte
	machine            Machine
}

// measure runs a workload. What an entrant fails at stands in its row; the error
// is of what makes all others useless.
func (b *bench) measure(ctx context.Context, w *workload) (Result, error) {
	res := Result{Name: w.name, When: time.Now().UTC().Format("2006-01-02"), Rounds: b.rounds, Seconds: b.time.Seconds()}
	if w.idle {
		res.Rounds, res.Seconds = 1, b.idleTime.Seconds()
	}
	all, rows := b.openAll(ctx, w)
	err := b.steps(ctx, w, all)
	for _, c := range all {
		c.close()
		c.row.Load = b.shown(c.measured)
	}
	for _, row := range rows {
		res.Rows = append(res.Rows, *row)
		if row.Failed != "" && ctx.Err() == nil {
			log.Printf("%s: %s: %s", w.name, row.Name, row.Failed)
		}
	}
	return res, errors.Join(err, ctx.Err())
}

// openAll starts all entrants. Those that do not start have a row alone.
func (b *bench) openAll(ctx context.Context, w *workload) (all []*running, rows []*Row) {
	for _, e := range w.by {
		c, err := b.open(ctx, e, w, b.programs, false)
		if err != nil {
			rows = append(rows, &Row{Name: e.name, Failed: err.Error()})
			continue
		}
		all, rows = append(all, c), append(rows, c.row)
	}
	return all, rows
}

func (b *bench) steps(ctx context.Context, w *workload, all []*running) error {
	if w.idle {
		return b.idle(ctx, all)
	}
	turn(ctx, all, func(c *running) error { return b.warm(ctx, c, w) })
	b.compare(ctx, all, func(c *running) error { return b.round(ctx, c, w) })
	if w.latency {
		b.compare(ctx, all, func(c *running) error { return b.half(ctx, c) })
	}
	if w.calls {
		turn(ctx, all, func(c *running) error { return b.calls(ctx, c, w) })
	}
	turn(ctx, all, func(c *running) error { return b.allocations(ctx, c, w) })
	return nil
}

// turn has each entrant do a step, one by one, until one fails it.
func turn(ctx context.Context, all []*running, step func(*running) error) {
	for _, c := range all {
		if c.row.Failed != "" || ctx.Err() != nil {
			continue
		}
		if err := step(c); err != nil {
			c.row.Failed = err.Error()
		}
	}
}

// compare runs rounds in which each entrant has its turn, another one first each time.
func (b *bench) compare(ctx context.Context, all []*running, step func(*running) error) {
	for i := range b.rounds {
		first := i % max(1, len(all))
		turn(ctx, slices.Concat(all[first:], all[:first]), step)
	}
}

// round measures one load on one entrant.
func (b *bench) round(ctx context.Context, c *running, w *workload) error {
	asked, err := b.asked()
	if err != nil {
		return err
	}
	cpu, behind := c.cpu(), b.origin.cpu()
	n, err := w.load(b, ctx, c, c.asked, b.time)
	if err != nil {
		return err
	}
	c.measured = c.load
	c.row.Samples = append(c.row.Samples, Sample{
		N: n.n, Seconds: digits(n.seconds, 3), CPU: digits(c.cpu()-cpu, 2), Load: digits(b.origin.cpu()-behind+n.used, 2),
	})
	after, err := b.asked()
	if err != nil {
		return err
	}
	if misses := after - asked; w.hits && misses > n.n/1000 {
		return fmt.Errorf("no hits: the origin was asked %d times for %d requests", misses, n.n)
	}
	return nil
}

// warm fills caches and pools of connections, and lets programs grow.
func (b *bench) warm(ctx context.Context, c *running, w *workload) error {
	// Each page once, each backend often enough to have connections.
	if n := max(len(c.asked.requests), 5*c.setup.Apps); n > 1 {
		s := load.Spec{Kind: "exchange", Conns: conns, Ask: c.asked.raw(c.addr), Count: n, Seconds: 120}
		if _, _, err := b.own(ctx, c, s); err != nil {
			return fmt.Errorf("warming: %w", err)
		}
	}
	_, err := b.aside(ctx, c, w)
	return err
}

// aside sends the load once more, outside of the rounds: by this program if it
// can, since wrk takes no less than a second, and two where it has to shake hands.
func (b *bench) aside(ctx context.Context, c *running, w *workload) (count, error) {
	switch {
	case c.setup.TLS:
		c.rate /= 20 // strace slows some that much, and who loads by a count would not end
		return w.load(b, ctx, c, c.asked, 2*time.Second)
	case w.status == http.StatusSwitchingProtocols:
		return w.load(b, ctx, c, c.asked, b.short)
	}
	return exchanges(conns)(b, ctx, c, c.asked, b.short)
}

// half measures latencies at half the rate at which the entrant was saturated.
func (b *bench) half(ctx context.Context, c *running) error {
	var rates []float64
	for _, s := range c.row.Samples {
		rates = append(rates, float64(s.N)/s.Seconds)
	}
	rate := spread(rates).median / 2
	res, _, err := b.own(ctx, c, load.Spec{
		Kind: "exchange", Conns: conns, Ask: c.asked.raw(c.addr), Order: c.asked.order, Rate: rate, Seconds: b.time.Seconds(),
	})
	if err != nil {
		return err
	}
	c.row.Halves = append(c.row.Halves, Half{digits(rate, 0), digits(res.P50, 1), digits(res.P99, 0), digits(res.P999, 0), res.Failed})
	return nil
}

// calls counts the system calls of an entrant, which slows it: the others wait
// for nothing meanwhile.
func (b *bench) calls(ctx context.Context, c *running, w *workload) error {
	argv := []string{"strace", "-c", "-f", "-U", "name,calls", "-o", c.dir + "/calls"}
	for _, pid := range c.tree() {
		argv = append(argv, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("strace: %w", err)
	}
	lines := bufio.NewReader(stderr)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Printf("%s: strace: %s: system calls are not counted", c.name, strings.TrimSpace(line))
		return nil
	}
	n, err := b.aside(ctx, c, w)
	_ = cmd.Process.Signal(syscall.SIGINT)
	_, _ = io.Copy(io.Discard, lines)
	_ = cmd.Wait() // it ends by the signal
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.dir + "/calls")
	if err != nil {
		return err
	}
	c.row.Calls = make(map[string]float64)
	for name, calls := range parseCalls(string(text)) {
		if each := float64(calls) / float64(n.n); each >= .02 {
			c.row.Calls[name] = digits(each, 2)
		}
	}
	return nil
}

// parseCalls reads strace's table of names and calls.
func parseCalls(text string) map[string]int {
	out := make(map[string]int)
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[0] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[1]); err == nil {
			out[fields[0]] = n
		}
	}
	return out
}

// allocations are counted on another process, which can say them.
func (b *bench) allocations(ctx context.Context, c *running, w *workload) error {
	if c.kind != "gateway" {
		return nil
	}
	counting, err := b.open(ctx, c.entrant, w, b.counting, true)
	if err != nil {
		return err
	}
	defer counting.close()
	if err := b.warm(ctx, counting, w); err != nil {
		return err
	}
	mallocs, size, err := counting.count.read()
	if err != nil {
		return err
	}
	n, err := b.aside(ctx, counting, w)
	if err != nil {
		return err
	}
	mallocs2, size2, err := counting.count.read()
	if err != nil {
		return err
	}
	c.row.Allocs, c.row.AllocBytes = digits((mallocs2-mallocs)/float64(n.n), 1), digits((size2-size)/float64(n.n), 0)
	return nil
}

// A holder is a load that holds idle connections to an entrant.
type holder struct {
	c      *running
	cmd    *exec.Cmd
	in     io.Closer // held until it is closed
	out    *json.Decoder
	before int64 // what the entrant's memory was
}

// idle measures how much memory connections take on which nothing is asked, of
// all entrants at the same time.
func (b *bench) idle(ctx context.Context, all []*running) error {
	var holders []*holder
	turn(ctx, all, func(c *running) error {
		h, err := b.hold(ctx, c)
		if err == nil {
			holders = append(holders, h)
		}
		return err
	})
	select {
	case <-ctx.Done():
	case <-time.After(b.idleTime):
	}
	for _, h := range holders {
		var res load.Result
		grown := h.c.memory() - h.before
		if err := h.end(&res); err != nil {
			h.c.row.Failed = err.Error()
			continue
		}
		h.c.row.Idle = &Idle{Conns: res.Done, Alive: res.Alive, Bytes: digits(float64(grown)/float64(res.Done), 0)}
		h.c.measured = []string{"bench", "load", "idle"}
	}
	return nil
}

// hold opens connections.
func (b *bench) hold(ctx context.Context, c *running) (*holder, error) {
	spec, err := json.Marshal(load.Spec{Kind: "idle", Addr: c.addr, Conns: b.idleConns, TLS: c.setup.TLS, Ask: c.asked.raw(c.addr)})
	if err != nil {
		return nil, err
	}
	argv := pinned(b.loadCPU, b.self, "load")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h := &holder{c, cmd, in, json.NewDecoder(out), c.memory()}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err = in.Write(spec); err == nil {
		err = h.out.Decode(new(load.Result))
	}
	if err != nil {
		_ = in.Close()
		_ = cmd.Wait() // what it died of stands in stderr
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return h, nil
}

// end lets the connections go, and says how many were still open.
func (h *holder) end(res *load.Result) error {
	_ = h.in.Close()
	return errors.Join(h.out.Decode(res), h.cmd.Wait())
}

// check asks once and again, and looks at the answer: what is fast and wrong
// is no figure.
func (b *bench) check(ctx context.Context, c *running, w *workload) error {
	if c.setup.Shop {
		cookie, err := login(ctx, "http://"+c.addr)
		if err != nil {
			return err
		}
		c.asked = c.asked.pinnedBy(cookie)
	}
	want := cmp.Or(w.status, http.StatusOK)
	var status int
	var size int64
	for i := range 2 { // the first may come from the origin
		if i > 0 && w.sent {
			time.Sleep(time.Second) // whoever compresses behind its clients' backs has done it
		}
		var err error
		if status, size, err = once(c); err != nil {
			return err
		}
	}
	if w.sent {
		c.row.Sent = size
	}
	if status != want || w.bytes > 0 && size != int64(w.bytes) {
		return fmt.Errorf("%w: status %d, %d bytes", errAnswer, status, size)
	}
	return nil
}

// once asks on a connection of its own, and says what came.
func once(c *running) (status int, size int64, err error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	if c.setup.TLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is this run's own
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, 0, err
	}
	r := c.asked.requests[0]
	if _, err := conn.Write(r.raw(c.addr)); err != nil {
		return 0, 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return 0, 0, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.StatusCode, 0, nil // what follows has no end
	}
	size, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, size, err
}

// asked returns how many requests the origin has answered.
func (b *bench) asked() (int, error) {
	res, err := http.Get("http://" + b.origin.addr + "/requests")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}
