//go:build linux

package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
)

//go:embed conf
var conf embed.FS

// A setup is what a contender is to do, and what its configuration is made from.
type setup struct {
	Cache, TLS, Log bool
	Compress        bool
	Watched         bool   // its status page is open, its metrics are asked for
	Traced          bool   // each request is a span
	Trust           bool   // 127.0.0.0/8 is a load balancer in front
	Shop            bool   // /admin has a server of its own, visitors with a session come back to the same
	Apps            int    // backends; 0: one
	Rules           int    // paths with a rule each; 0: everything goes to the backends
	Policy          string // the gateway's; empty: its default
	PHP             bool   // the backend is php-fpm

	// What the run adds.
	Port     int
	Status   int // of the gateway's status page, if it is watched
	Dir      string
	Backends []string // host:port
	Origin   string   // the same of the server for /admin
	FPM      string   // host:port of php-fpm, if it is the backend
	Root     string   // its files
}

// For the templates.

func (s setup) User() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "nobody"
}

func (s setup) Kept() int { return max(64, 2*len(s.Backends)) }

// OpenFiles is how many files of its cache nginx holds open at most: half of what it may open.
func (s setup) OpenFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 500 // of 1024
	}
	return min(l.Cur/2, 200_000)
}

func (s setup) Admin() string {
	if s.Shop {
		return s.Origin
	}
	return ""
}

func (s setup) Sections() []int {
	out := make([]int, s.Rules)
	for i := range out {
		out[i] = i
	}
	return out
}

type hostPort struct{ Host, Port string }

func split(addr string) hostPort {
	host, port, _ := net.SplitHostPort(addr)
	return hostPort{host, port}
}

func (s setup) Split() (out []hostPort) {
	for _, b := range s.Backends {
		out = append(out, split(b))
	}
	return out
}

func (s setup) SplitOrigin() hostPort { return split(s.Origin) }

// A kind of program that takes part.
type kind struct {
	file string // its configuration, a template in conf; empty: flags
	argv func(p programs, s setup) []string
}

// Programs are those that are built here, by their paths.
type programs struct{ loop, caddy, gateway, traced, rules string }

var kinds = map[string]kind{
	"loop": {"", func(p programs, s setup) []string {
		if s.Cache {
			return []string{p.loop, "answer", strconv.Itoa(s.Port), s.Dir + "/answer"}
		}
		return []string{p.loop, "proxy", strconv.Itoa(s.Port), split(s.Origin).Port}
	}},
	"nginx": {"nginx.conf", func(p programs, s setup) []string {
		return []string{"nginx", "-e", s.Dir + "/error.log", "-c", s.Dir + "/nginx.conf"}
	}},
	"HAProxy": {"haproxy.cfg", func(p programs, s setup) []string {
		return []string{"haproxy", "-f", s.Dir + "/haproxy.cfg"}
	}},
	"Varnish": {"varnish.vcl", func(p programs, s setup) []string {
		return []string{"varnishd", "-F", "-j", "none", "-n", s.Dir + "/varnish", "-a", "127.0.0.1:" + strconv.Itoa(s.Port),
			"-f", s.Dir + "/varnish.vcl", "-s", "malloc,1g", "-p", "timeout_idle=300"}
	}},
	"Caddy": {"Caddyfile", func(p programs, s setup) []string {
		return []string{p.caddy, "run", "--config", s.Dir + "/Caddyfile", "--adapter", "caddyfile"}
	}},
	"gateway": {"", gateway},
}

// gateway is the command line of examples/gateway, or of the tier with rules.
func gateway(p programs, s setup) []string {
	listen := "127.0.0.1:" + strconv.Itoa(s.Port)
	if s.Rules > 0 {
		return []string{p.rules, "-listen", listen, "-backend", "http://" + s.Backends[0], "-rules", strconv.Itoa(s.Rules)}
	}
	backends := "http://" + strings.Join(s.Backends, ",http://")
	if s.PHP {
		backends = "fcgi://" + s.FPM + "?root=" + s.Root
	}
	program := p.gateway
	if s.Traced {
		program = p.traced
	}
	argv := []string{program, "-listen", listen, "-linger", "0", "-backends", backends}
	add := func(yes bool, args ...string) {
		if yes {
			argv = append(argv, args...)
		}
	}
	add(s.Cache, "-cache", "1GiB")
	add(!s.Cache, "-cache", "0")
	add(!s.Log, "-log", "off")
	add(!s.Compress, "-compress", "off")
	add(s.Watched, "-status", "127.0.0.1:"+strconv.Itoa(s.Status))
	add(s.Trust, "-trust", "127.0.0.0/8")
	add(s.TLS, "-tls-cert", s.Dir+"/cert.pem", "-tls-key", s.Dir+"/key.pem")
	add(s.Shop, "-origin", "http://"+s.Origin, "-admin", "/admin", "-sticky", "pin")
	add(s.Policy != "", "-policy", s.Policy)
	return argv
}

// An entrant is a program in one setup.
type entrant struct {
	kind   string
	name   string       // in tables
	change func(*setup) // nil: as the workload says
}

// A running entrant.
type running struct {
	entrant
	*process
	setup    setup
	dir      string
	asked    asking   // with what the contender needs of its own in it
	load     []string // the last load's command line
	rate     float64  // how fast it was, where the load has to know
	row      *Row
	measured []string // the last one in a round
	count    *counter // nil: its allocations are not counted
	watcher  *watcher // nil: nobody looks at it
}

// A counter asks a gateway for what it does: see conf/asked.go.txt.
type counter struct{ ask, say *os.File }

func (c *counter) read() (mallocs, bytes float64, err error) {
	if _, err := io.WriteString(c.ask, "\n"); err != nil {
		return 0, 0, err
	}
	_, err = fmt.Fscanln(c.say, &mallocs, &bytes)
	return mallocs, bytes, err
}

func (c *counter) close() {
	_ = c.ask.Close()
	_ = c.say.Close()
}

// open starts an entrant, in a directory of its own.
func (b *bench) open(ctx context.Context, e entrant, w *workload, p programs, counts bool) (_ *running, err error) {
	c := &running{entrant: e, setup: w.setup, asked: w.ask(b), row: &Row{Name: e.name}}
	if c.dir, err = os.MkdirTemp(b.dir, "run"); err != nil {
		return nil, err
	}
	s := &c.setup
	if e.change != nil {
		e.change(s)
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	if s.Status, err = freePort(); err != nil {
		return nil, err
	}
	s.Dir, s.Origin, s.Backends = c.dir, b.origin.addr, []string{b.origin.addr}
	if s.Apps > 0 {
		s.Backends = b.addresses(s.Apps)
	}
	if s.PHP {
		if err := b.startPHP(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := b.prepare(c, w); err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + strconv.Itoa(s.Port)
	argv := kinds[e.kind].argv(p, *s)
	var files []*os.File
	if counts {
		askRead, ask, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		say, sayWrite, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		c.count = &counter{ask, say}
		files = []*os.File{askRead, sayWrite}
		defer askRead.Close()
		defer sayWrite.Close()
	}
	if c.process, err = start(ctx, b.serverCPU, c.dir, addr, argv, files...); err != nil {
		return nil, err
	}
	c.row.Command = b.shown(argv)
	if err := b.check(ctx, c, w); err != nil {
		c.close()
		return nil, err
	}
	if s.Watched {
		if c.watcher, err = watch(ctx, "127.0.0.1:"+strconv.Itoa(s.Status)); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *running) close() {
	if c.watcher != nil {
		c.watcher.close()
	}
	c.stop()
	if c.count != nil {
		c.count.close()
	}
	_ = os.RemoveAll(c.dir)
}

// prepare writes what an entrant reads at its start.
func (b *bench) prepare(c *running, w *workload) error {
	files := make(map[string][]byte)
	if file := kinds[c.kind].file; file != "" {
		t, err := template.ParseFS(conf, "conf/"+file)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, c.setup); err != nil {
			return err
		}
		files[file] = text.Bytes()
	}
	if c.setup.TLS {
		files["cert.pem"], files["key.pem"] = b.cert, b.key
		files["pair.pem"] = slices.Concat(b.cert, b.key)
	}
	if c.kind == "loop" && c.setup.Cache {
		var err error
		if files["answer"], err = b.constant(c.asked.requests[0], w.status); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// constant is what the loop answers: what the origin does.
func (b *bench) constant(r request, status int) ([]byte, error) {
	if status == http.StatusNotModified {
		return []byte("HTTP/1.1 304 Not Modified\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nCache-Control: max-age=3600\r\nETag: \"v1\"\r\n\r\n"), nil
	}
	conn, err := net.Dial("tcp", b.origin.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r.header = append([]string{"Host: shop.example", "Connection: close"}, r.header...) // it answers and closes
	if _, err := conn.Write(r.raw("")); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// addresses are n of the origin's.
func (b *bench) addresses(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("127.1.%d.%d:%s", i/250, i%250+1, split(b.origin.addr).Port))
	}
	return out
}

// shown is a command line as others may run it.
func (b *bench) shown(argv []string) string {
	var out []string
	for _, arg := range argv {
		arg = strings.NewReplacer(b.root, "", b.dir, "").Replace(arg)
		if i := strings.LastIndex(arg, "/run"); i == 0 { // a file in an entrant's directory
			if _, file, ok := strings.Cut(arg[1:], "/"); ok {
				arg = file
			}
		}
		arg = strings.TrimPrefix(arg, "/")
		if strings.Count(arg, ",http://") > 2 {
			urls := strings.Split(arg, ",")
			arg = urls[0] + "," + urls[1] + ",..."
		}
		if strings.ContainsAny(arg, " *;\"$()&") {
			arg = "'" + arg + "'"
		}
		out = append(out, arg)
	}
	return strings.Join(out, " ")
}

// login asks for a page as a new visitor, and returns the cookie that it sets.
func login(ctx context.Context, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/n2048/login", nil)
	if err != nil {
		return "", err
	}
	req.Host, req.Close = "shop.example", true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	for _, c := range res.Cookies() {
		return c.Name + "=" + c.Value, nil
	}
	return "", nil
}

var errAnswer = errors.New("not the answer that was asked for")
