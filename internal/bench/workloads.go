//go:build linux

package main

import (
	"fmt"
	"slices"
	"strconv"
)

// A workload is what is asked, who takes part, and who cannot.
type workload struct {
	name    string // for -run, and where it stands in the report
	group   string
	title   string
	setup   setup
	ask     func(b *bench) asking
	by      []entrant
	without []string // who takes no part, and why
	load    loader
	unit    string // what is counted; empty: requests
	status  int    // of each answer; 0: 200, or whatever comes if there are several
	bytes   int    // of its body; 0: not looked at
	hits    bool   // the origin gets nothing
	latency bool   // measured at half load, too
	calls   bool   // system calls are counted, too
	idle    bool   // memory is measured, and nothing else
	sent    bool   // the size of a body is a figure
}

const (
	kib   = 1 << 10
	conns = 64
)

// Who takes part where.
var (
	loop    = entrant{kind: "loop", name: "bare loop"}
	nginx   = entrant{kind: "nginx", name: "nginx"}
	haproxy = entrant{kind: "HAProxy", name: "HAProxy"}
	varnish = entrant{kind: "Varnish", name: "Varnish"}
	caddy   = entrant{kind: "Caddy", name: "Caddy"}
	ours    = entrant{kind: "gateway", name: "gateway"}

	caching  = []entrant{loop, nginx, haproxy, varnish, ours}
	proxying = []entrant{loop, nginx, haproxy, varnish, caddy, ours}
	secure   = []entrant{nginx, haproxy, caddy, ours}
)

const (
	noCache = "Caddy: its standard build has no cache"
	noTLS   = "Varnish: speaks no TLS"
	noLoop  = "bare loop: speaks no TLS"
)

func is(r request) func(*bench) asking { return func(*bench) asking { return one(r) } }

// hit asks for a stored page; proxied for one that no cache may keep.
func hit(name, title string, r request, bytes int) workload {
	return workload{
		name: name, group: "Hits", title: title, setup: setup{Cache: true}, ask: is(r), by: caching,
		without: []string{noCache}, load: wrk(conns), bytes: bytes, hits: true,
	}
}

func proxied(name, title string, r request, bytes int) workload {
	return workload{name: name, group: "Proxied", title: title, ask: is(r), by: proxying, load: wrk(conns), bytes: bytes}
}

// alone reports whether only the gateway takes part.
func (w *workload) alone() bool {
	return !slices.ContainsFunc(w.by, func(e entrant) bool { return e.kind != ours.kind })
}

// but returns a workload with changes.
func (w workload) but(changes ...func(*workload)) workload {
	for _, c := range changes {
		c(&w)
	}
	return w
}

// compressed has text compressed, by those who can, and by none.
func compressed(w *workload) {
	w.group, w.sent, w.bytes = "Compression", true, 0
	w.by = nil
	for _, e := range []entrant{nginx, ours} {
		zip := e
		zip.change = func(s *setup) { s.Compress = true }
		e.name += " without"
		w.by = append(w.by, zip, e)
	}
	w.without = []string{"HAProxy, Varnish, Caddy: left out, to keep the run short"}
}

func half(w *workload)   { w.latency = true }
func called(w *workload) { w.calls = true }

// over puts a workload behind TLS.
func over(l loader, without ...string) func(*workload) {
	return func(w *workload) {
		w.group, w.setup.TLS, w.load = "TLS", true, l
		w.by, w.without = secure, append([]string{noTLS, noLoop}, without...)
		if w.setup.Cache {
			w.by, w.without = []entrant{nginx, haproxy, ours}, append(w.without, noCache)
		}
	}
}

var workloads = append([]workload{
	hit("hit-1k", "1 KiB, wrk's bare head", get("/c1024/page"), kib).but(half, called),
	hit("hit-16k", "16 KiB", get("/c16384/page"), 16*kib).but(called),
	hit("hit-256k", "256 KiB", get("/c262144/page"), 256*kib),
	hit("hit-1m", "1 MiB", get("/c1048576/page"), 1024*kib),
	hit("hit-browser", "1 KiB, a browser's head: 11 fields, two ignored cookies", get("/c1024/page", browser...), kib).but(half),
	hit("hit-forwarded", "the same behind a trusted load balancer's X-Forwarded fields", get("/c1024/page", with(browser, forwarded...)...), kib).
		but(func(w *workload) { w.setup.Trust = true }),
	hit("hit-zipf", "100,000 pages of 1 KiB, some asked for more often than others (Zipf)", request{}, kib).
		but(func(w *workload) {
			w.ask = func(b *bench) asking {
				return zipf(b.pages, func(i int) request { return get("/c1024/page-" + strconv.Itoa(i)) })
			}
			w.by, w.without = []entrant{nginx, haproxy, varnish, ours}, append(w.without, "bare loop: knows one answer")
		}),
	hit("hit-304", "304, to a browser that has the page", get("/c1024/page", with(browser, `If-None-Match: "v1"`)...), 0).
		but(func(w *workload) { w.status, w.load = 304, exchanges(conns) }),

	proxied("proxied-1k", "GET, 1 KiB", get("/n1024/page"), kib).but(half, called),
	proxied("proxied-20k", "GET, 20 KiB", get("/n20480/page"), 20*kib).but(half, called),
	proxied("post-10k", "POST of 10 KiB, answered by 1 KiB", request{"POST", "/n1024/form", []string{"Content-Type: application/x-www-form-urlencoded"}, 10 * kib}, kib).but(called),
	proxied("stream-1m", "GET, 1 MiB without a length, in chunks", get("/s1048576/export"), 1024*kib),
	proxied("websocket", "100 bytes there and back over websockets", get("/w", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 0).
		but(func(w *workload) { w.load, w.status, w.unit = messages(conns), 101, "messages" }),

	proxied("php-1k", "GET, 1 KiB by a script of php-fpm, over FastCGI, a connection each; php-fpm is what is busy", get("/product/1"), kib).
		but(called, func(w *workload) {
			w.setup.PHP, w.by = true, []entrant{nginx, ours}
			w.without = []string{"HAProxy, Caddy: left out, to keep the run short", "Varnish, bare loop: speak no FastCGI"}
		}),

	hit("tls-hit-1k", "HTTP/1.1 on kept connections, hit of 1 KiB", get("/c1024/page"), kib).but(over(wrk(conns)), called),
	proxied("tls-proxied-1k", "HTTP/1.1 on kept connections, proxied, 1 KiB", get("/n1024/page"), kib).but(over(wrk(conns)), called),
	proxied("tls-new", "new connections with a full handshake (TLS 1.3, X25519, P-256) and one proxied request", get("/n1024/page", "Connection: close"), kib).
		but(over(handshakes(16)), func(w *workload) { w.unit = "connections" }),
	hit("h2-hit-1k", "HTTP/2, hit of 1 KiB", get("/c1024/page"), kib).but(over(h2load(16, 4)), called),
	proxied("h2-proxied-1k", "HTTP/2, proxied, 1 KiB", get("/n1024/page"), kib).but(over(h2load(16, 4)), called),

	hit("text-hit-20k", "20 KiB of text, stored; nginx compresses each answer (gzip, level 1), the gateway each page once (br)", get("/c20480/text", browser...), 0).but(compressed, called),
	proxied("text-proxied-20k", "20 KiB of text, not stored, compressed on its way (nginx: gzip, level 1; the gateway: zstd)", get("/n20480/text", browser...), 0).but(compressed),
	proxied("text-gzip-20k", "the same in gzip alone", get("/n20480/text", "Accept-Encoding: gzip"), 0).but(compressed),

	hit("log-hit-1k", "hit of 1 KiB, with and without a log", get("/c1024/page"), kib).but(logged),
	proxied("log-proxied-1k", "proxied, 1 KiB, with and without a log", get("/n1024/page"), kib).but(logged),

	hit("watched-hit-1k", "hit of 1 KiB, with the status page open and the metrics asked for each 5 s, with a hook for spans too, with the log as well, and without", get("/c1024/page"), kib).but(watched),
	proxied("watched-proxied-1k", "proxied, 1 KiB, likewise", get("/n1024/page"), kib).but(watched),

	{
		name: "shop", group: "A shop", title: "80% hits on 1,000 pages of 8 KiB, 15% a cart of 16 KiB, 3% logins, 2% admin; browser's heads",
		setup: setup{Cache: true, Shop: true, Apps: 2}, ask: func(*bench) asking { return visitors() },
		by:   []entrant{nginx, haproxy, varnish, ours},
		load: wrk(conns), latency: true,
		without: []string{noCache, "bare loop: knows one answer"},
	},

	{
		name: "idle", group: "Idle connections", title: "kept connections on which nothing is asked any more", ask: is(get("/n1024/page")),
		by: []entrant{nginx, haproxy, varnish, caddy, ours}, idle: true, bytes: kib,
	},
	{
		name: "idle-tls", group: "Idle connections", title: "the same over TLS 1.3", setup: setup{TLS: true}, ask: is(get("/n1024/page")),
		by: secure, without: []string{noTLS}, idle: true, bytes: kib,
	},
}, sizes()...)

// logged lets each take part with its log, and without.
func logged(w *workload) {
	w.group = "Log"
	w.by = nil
	for _, e := range []entrant{nginx, haproxy, ours} {
		on := e
		on.name, on.change = e.name+" with log", func(s *setup) { s.Log = true }
		w.by = append(w.by, e, on)
	}
	w.without = []string{"Varnish: another program, varnishncsa, writes its log", "Caddy: left out, to keep the run short"}
}

// sizes are the workloads with many backends and rules.
func sizes() (out []workload) {
	for _, n := range []int{2, 100, 1000} {
		w := proxied(fmt.Sprintf("backends-%d", n), fmt.Sprintf("%d backends, 1 KiB", n), get("/n1024/page"), kib)
		w.group, w.setup.Apps, w.by = "Many backends and rules", n, []entrant{nginx, haproxy, ours}
		for _, p := range []string{"roundrobin", "hash"} {
			w.by = append(w.by, entrant{kind: "gateway", name: "gateway, " + p, change: func(s *setup) { s.Policy = p }})
		}
		w.without = []string{"Varnish, Caddy: left out, since this is about the pick"}
		out = append(out, w)
	}
	for _, n := range []int{5, 50, 500} {
		w := proxied(fmt.Sprintf("rules-%d", n), fmt.Sprintf("the last of %d rules by path, proxied, 1 KiB", n), get(fmt.Sprintf("/n1024/section-%d/page", n-1)), kib)
		w.group, w.setup.Rules, w.by = "Many backends and rules", n, []entrant{nginx, haproxy, caddy, ours}
		w.without = []string{"Varnish: its rules are a program"}
		out = append(out, w)
	}
	return out
}
