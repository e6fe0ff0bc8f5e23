//go:build e2e

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A machine is a server of the shop that dies, hangs and comes back.
type machine struct {
	t    *testing.T
	addr string

	mu   sync.Mutex
	srv  *http.Server  // guarded by mu; nil: it is dead
	hung chan struct{} // guarded by mu; closed unless it hangs
}

func startMachine(t *testing.T) *machine {
	m := &machine{t: t, hung: make(chan struct{})}
	close(m.hung)
	l := testkit.Listen(t)
	m.addr = l.Addr().String()
	m.serve(l)
	t.Cleanup(func() { m.resume(); m.kill() })
	return m
}

// ServeHTTP implements [http.Handler].
func (m *machine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	hung := m.hung
	m.mu.Unlock()
	select {
	case <-hung:
	case <-r.Context().Done():
		return
	}
	if strings.HasPrefix(r.URL.Path, "/product") {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "product-7")
	}
	_, _ = io.WriteString(w, m.addr)
}

func (m *machine) serve(l net.Listener) {
	srv := &http.Server{Handler: m}
	m.mu.Lock()
	m.srv = srv
	m.mu.Unlock()
	go func() { _ = srv.Serve(l) }() // its end is wanted
}

func (m *machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.srv != nil {
		_ = m.srv.Close()
		m.srv = nil
	}
}

func (m *machine) start() {
	l, err := net.Listen("tcp", m.addr)
	if err != nil {
		m.t.Errorf("it does not come back: %v", err)
		return
	}
	m.serve(l)
}

func (m *machine) hang() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hung = make(chan struct{})
}

func (m *machine) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.hung:
	default:
		close(m.hung)
	}
}

// A happening is what befalls a gateway in a night, and by what whoever comes in the
// morning finds it: expressions for what the page shows, and for a line of the metrics and
// of the log, in Go's syntax. What was there before does not count.
type happening struct {
	what              string
	do                func()
	page, metric, log string
}

// A night is a gateway under load to which things happen.
type night struct {
	t       *testing.T
	gateway *servertest.Server
	addr    string // where it serves
	at      string // where its status page is
	socket  string // over which it takes orders
}

// page returns what an open page is shown.
func (n *night) page() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.at+"/events", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Error(err)
		return ""
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 4<<20)
	for plots := false; in.Scan(); {
		if strings.HasPrefix(in.Text(), "event: plots") {
			plots = true
		}
		if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
			if !plots {
				return data
			}
			plots = false
		}
	}
	return ""
}

func (n *night) metrics() string {
	res, err := http.Get("http://" + n.at + "/metrics")
	if err != nil {
		n.t.Error(err)
		return ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Error(err)
	}
	return string(text)
}

func (n *night) act(what string) {
	var out, errs strings.Builder
	if code := run(n.t.Context(), []string{"-status", n.socket, "-act", what}, &out, &errs); code != 0 {
		n.t.Errorf("%s: %d %s", what, code, errs.String())
	}
}

func (n *night) signal(s syscall.Signal) {
	if err := syscall.Kill(n.gateway.PID(), s); err != nil {
		n.t.Error(err)
	}
}

// befall has something happen, and waits until it is found everywhere.
func (n *night) befall(h happening) {
	n.t.Helper()
	before := map[string]int{}
	places := []struct {
		name, want string
		text       func() string
	}{{"page", h.page, n.page}, {"metrics", h.metric, n.metrics}, {"log", h.log, n.gateway.Output}}
	count := func(want, text string) int { return len(regexp.MustCompile(want).FindAllString(text, -1)) }
	for _, p := range places {
		before[p.name] = count(p.want, p.text())
	}
	h.do()
	for _, p := range places {
		testkit.Within(n.t, 20*time.Second, fmt.Sprintf("%s: %s on the %s", h.what, p.want, p.name), func() bool { return count(p.want, p.text()) > before[p.name] })
	}
}

// TestE2ENight: a night in which servers die and hang and somebody purges and drains, under
// load. No visitor is failed, and each event is found on the page, in the metrics and in
// the log.
func TestE2ENight(t *testing.T) {
	web := []*machine{startMachine(t), startMachine(t), startMachine(t)}
	dir, err := os.MkdirTemp("", "gw") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, statusPort := servertest.FreePort(t), servertest.FreePort(t)
	n := &night{t: t, addr: fmt.Sprintf("127.0.0.1:%d", port), at: fmt.Sprintf("127.0.0.1:%d", statusPort), socket: "unix:" + filepath.Join(dir, "status.sock")}
	blocked := filepath.Join(dir, "blocked")
	write := func(text string) {
		if err := os.WriteFile(blocked, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("192.0.2.0/24\n")
	n.gateway = servertest.Start(t, port, buildGateway(t), "-listen", n.addr, "-status", n.at+","+n.socket, "-probe", "/healthz", "-block", blocked,
		"-backends", "http://"+web[0].addr+",http://"+web[1].addr+",http://"+web[2].addr)
	t.Cleanup(func() {
		if t.Failed() {
			lines := regexp.MustCompile(`(?m)^.*msg=request .*\n`).ReplaceAllString(n.gateway.Output(), "")
			t.Logf("the page: %s\nthe log without requests:\n%s", n.page(), tail(lines, 6000))
		}
	})

	// Visitors, of pages that are stored and of such as are not.
	ctx, stop := context.WithCancel(t.Context())
	var asked, failed atomic.Int64
	var visitors sync.WaitGroup
	for i := range 8 {
		visitors.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				path := [...]string{"/product/1", "/account"}[i%2]
				res, err := client.Get("http://" + n.addr + path)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if asked.Add(1); err != nil || res.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Errorf("%s: %v %v", path, res, err)
				}
			}
		})
	}
	defer visitors.Wait()
	defer stop()
	testkit.Within(t, 10*time.Second, "all are up", func() bool { return strings.Count(n.page(), `"state":"up","why"`)+strings.Count(n.page(), ` up"`) >= 3 })

	state := func(m *machine, state string) string {
		return `foretier_backend_state\{backend="` + m.addr + `",pool="apps",state="` + state + `"\} 1`
	}
	for _, h := range []happening{
		{"a server dies", web[0].kill, web[0].addr + ` down: [^"]*refuse`, state(web[0], "down"), `msg="backend is down" .*backend=` + web[0].addr + ` .*refuse`},
		{"it comes back", web[0].start, web[0].addr + ` up`, state(web[0], "up"), `msg="backend is up" .*backend=` + web[0].addr},
		{"a server hangs", web[1].hang, web[1].addr + ` down: `, state(web[1], "down"), `msg="backend is down" .*backend=` + web[1].addr},
		{"it goes on", web[1].resume, web[1].addr + ` up`, state(web[1], "up"), `msg="backend is up" .*backend=` + web[1].addr},
		{"somebody purges", func() { n.act("purge tag product-7") }, `purge of the tag product-7, responses: 1`, `foretier_cache_invalidations_total\{cache="Foretier"\} 1`,
			`msg=act verb="purge tag" cache=Foretier of=Foretier arg=product-7 from="unix:uid=`},
		{"somebody drains", func() { n.act("drain " + web[2].addr) }, `drain ` + web[2].addr + ` of pool apps, by unix:`, `foretier_backend_drained\{backend="` + web[2].addr + `",pool="apps"\} 1`,
			`msg=act verb=drain pool=apps of=` + web[2].addr + ` arg="" from="unix:uid=`},
		{"and takes it back", func() { n.act("ready " + web[2].addr) }, `ready ` + web[2].addr + ` of pool apps, by unix:`, `foretier_backend_drained\{backend="` + web[2].addr + `",pool="apps"\} 0`,
			`msg=act verb=ready pool=apps of=` + web[2].addr},
		{"a file is read again", func() { write("192.0.2.0/24\n198.51.100.7\n"); n.signal(syscall.SIGHUP) }, `2 networks`, `foretier_file_changes_total\{[^}]*file="block"[^}]*\} 1`,
			`level=INFO msg="a file is taken up" flag=-block .*2 networks`},
		{"another is refused", func() { write("everybody\n"); n.signal(syscall.SIGHUP) }, `line 1: .{0,3}everybody`, `foretier_file_refused\{[^}]*file="block"[^}]*\} 1`,
			`level=ERROR msg="a file is not taken up, what was before stays" flag=-block .*line 1`},
	} {
		n.befall(h)
		t.Logf("%s: found; %d requests so far", h.what, asked.Load())
	}
	// A new program takes over, which reads its files anew; it is seen and steered as the
	// old one was.
	write("192.0.2.0/24\n")
	before := regexp.MustCompile(`(?m)^process_start_time_seconds .*`).FindString(n.metrics())
	n.signal(syscall.SIGUSR2)
	for _, line := range []string{"another gateway has taken over", "this gateway has taken over"} {
		testkit.Within(t, 30*time.Second, line, func() bool { return strings.Contains(n.gateway.Output(), line) })
	}
	testkit.Within(t, 20*time.Second, "its metrics", func() bool { return before != "" && !strings.Contains(n.metrics(), before) })
	n.befall(happening{"somebody drains at the new one", func() { n.act("drain " + web[2].addr) }, `drain ` + web[2].addr + ` of pool apps, by unix:`,
		`foretier_backend_drained\{backend="` + web[2].addr + `",pool="apps"\} 1`, `msg=act verb=drain pool=apps of=` + web[2].addr + ` arg="" from="unix:uid=`})
	t.Logf("a new program: found; %d requests so far", asked.Load())
	stop()
	visitors.Wait()
	t.Logf("%d requests, %d failed", asked.Load(), failed.Load())
}
