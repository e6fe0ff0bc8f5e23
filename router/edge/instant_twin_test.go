package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/codings"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
)

// TestInstantAnswersAsTheChain: twins, of which one answers from heads, get the
// same requests, purges, tables and pauses, all made up. Each answer must be the
// same to the byte, Age and Date too, since their clock is; so must what they log
// and what they report. FORETIER_TWINS says how many there are.
func TestInstantAnswersAsTheChain(t *testing.T) {
	n := 40
	if s := os.Getenv("FORETIER_TWINS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	var asked, instant, saved float64
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			p := newTwins(seed)
			p.play(t)
			asked += metric(p.a.srv.Report(), "requests_total")
			instant += metric(p.a.srv.Report(), "requests_instant_total")
			saved += metric(p.a.pages.Report(), "saved_bytes_total")
			if n := metric(p.b.srv.Report(), "requests_instant_total"); n != 0 {
				t.Errorf("%v answers from heads, and none were asked for", n)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%.0f of %.0f from their heads, %.0f KiB saved", instant, asked, saved/1024)
	least := asked / 8
	if n > 40 { // of 1,200 it is a tenth
		least = asked / 12
	}
	if instant < least {
		t.Error("hardly any")
	}
	if saved == 0 {
		t.Error("nothing was compressed")
	}
}

// twins are two tiers of the same make.
type twins struct {
	rnd    *rand.Rand // what happens to both
	a, b   *twin
	recent []head             // that were asked before
	again  func(*twin) string // what asked last
}

// A head is a request.
type head struct{ method, line, fields, end string }

func (h head) String() string { return h.line + h.fields + h.end }

// A twin is one of them.
type twin struct {
	rnd      *rand.Rand // how it is made
	srv      *edge.Server
	rt       *router.Router
	pages    *cache.Cache
	zip      *compress.Compressor
	lines    lines
	combined testkit.Log
	spans    testkit.Log
	comers   comers
	conns    map[string]*pipeClient
	said     string // the version of what its backend says
	stop     context.CancelFunc
	together bool // requests come together, and nothing is refreshed behind their backs: that would be chance
	ended    sync.WaitGroup

	mu    sync.Mutex
	asked map[string]int // guarded by mu: how often the backend was, for what
}

func newTwins(seed uint64) *twins {
	p := &twins{rnd: rand.New(rand.NewPCG(seed, 1))}
	p.a, p.b = newTwin(seed, false), newTwin(seed, true)
	return p
}

func newTwin(seed uint64, noInstant bool) *twin {
	w := &twin{rnd: rand.New(rand.NewPCG(seed, 2)), comers: make(comers), conns: make(map[string]*pipeClient), together: seed%2 == 0, said: "0", asked: make(map[string]int)}
	opts := cache.Options{IgnoreCookies: cache.Analytics(), Logger: w.lines.Logger()}
	if w.together {
		opts.Grace = -1
	}
	// Where something is refreshed behind their backs, its form and that of what it replaces
	// are made in whatever order.
	if w.rnd.IntN(3) > 0 && w.together {
		opts.Compress = []cache.Coder{codings.Zstandard(), codings.Gzip()} // which are quick
	}
	switch w.rnd.IntN(4) {
	case 0:
		opts.Rules.Plan = func(r *http.Request) cache.Plan {
			return cache.Plan{Key: r.Header["X-V"], Pass: r.Header["Accept-Language"] != nil && r.Header["Dnt"] != nil}
		}
	case 1:
		opts.Rules.PlanByURL = true
		opts.Rules.Plan = func(r *http.Request) cache.Plan {
			return cache.Plan{
				Pass:    cache.HasCookie(r, "sid"),
				Query:   cache.Query{Drop: cache.Tracking()},
				Key:     []string{strconv.Itoa(len(r.URL.Path) % 2)},
				Cookies: map[bool][]string{true: {"group", "_ga"}}[len(r.URL.Path)%3 == 0],
			}
		}
	}
	if w.rnd.IntN(2) == 0 {
		opts.Orders = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	var err error
	if w.pages, err = cache.New(opts); err != nil {
		panic(err)
	}
	if w.zip, err = compress.New(compress.Options{IgnoreCookies: cache.Analytics()[:1], Private: w.rnd.IntN(4) == 0}); err != nil {
		panic(err)
	}
	w.rt = w.router("router", 1)
	var front http.Handler = w.rt
	if w.rnd.IntN(12) == 0 {
		front = health.Wrap(marked(front), front)
	}
	edges := edge.Options{
		NoInstant: noInstant, Logger: w.lines.Logger(), Listener: w.comers, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		HSTS: time.Duration(w.rnd.IntN(2)) * time.Hour, AnonymousLog: w.rnd.IntN(4) == 0, Linger: -1,
		Limits: edge.Limits{Fields: 24, Headers: 2000, Target: 200},
	}
	if w.rnd.IntN(2) == 0 {
		edges.Logger = slog.New(edge.NewLogHandler(&w.lines, edge.LogOptions{JSON: true}))
	}
	switch w.rnd.IntN(4) {
	case 0:
		edges.Tracing.Begin = true
	case 1:
		edges.Tracing.Begin, edges.Tracing.Anybody = true, true
	case 2:
		edges.Tracing.Spans = w.span
	}
	if w.rnd.IntN(3) == 0 {
		edges.Combined = &w.combined
	}
	if w.srv, err = edge.New(front, edges); err != nil {
		panic(err)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.ended.Go(func() { _ = w.srv.Run(ctx) })
	return w
}

// span begins one, of which each tenth is none.
func (w *twin) span(a edge.Asked) edge.Span {
	if strings.HasPrefix(a.Target, "/lang") {
		return nil
	}
	a.ID = ""
	return &twinSpan{asked: a, to: &w.spans}
}

// A twinSpan tells how it was begun and ended.
type twinSpan struct {
	asked edge.Asked
	to    io.Writer
}

func (*twinSpan) Context(ctx context.Context) context.Context   { return ctx }
func (s *twinSpan) Traceparent() (string, string)               { return s.asked.Traceparent, s.asked.Tracestate }
func (*twinSpan) Try(string) (string, string, func(int, error)) { return "", "", func(int, error) {} }
func (s *twinSpan) End(attrs iter.Seq[slog.Attr]) {
	fmt.Fprint(s.to, s.asked)
	for a := range attrs {
		if a.Key == "id" || a.Key == "trace" {
			a.Value = slog.IntValue(len(a.Value.String()))
		}
		fmt.Fprint(s.to, " ", a)
	}
	fmt.Fprintln(s.to)
}

// marked is middleware that answers by more than the URL.
func marked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Agent", r.Header.Get("User-Agent"))
		next.ServeHTTP(w, r)
	})
}

// router makes up a table of rules.
func (w *twin) router(name string, depth int) *router.Router {
	for {
		rt, err := router.New(router.Options{Name: name, Logger: w.lines.Logger()}, w.rules(depth)...)
		if err == nil {
			return rt
		}
	}
}

func (w *twin) rules(depth int) []router.Rule {
	rules := []router.Rule{{Name: "admin", When: router.Admin("/admin"), To: w.backend("admin")}}
	for i := range w.rnd.IntN(4) {
		rules = append(rules, w.rule(fmt.Sprint("r", i), w.matcher(1), depth))
	}
	return append(rules, w.rule("rest", nil, depth))
}

func (w *twin) rule(name string, when router.Matcher, depth int) router.Rule {
	r := router.Rule{Name: name, When: when, To: w.handler(name, depth)}
	switch w.rnd.IntN(32) {
	case 0, 5, 6:
		r.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("10.0.0.0/8")}
	case 1:
		r.MaxBody = 3
	case 2:
		r.Limit = router.Limit{Rate: 0.05, Burst: 3}
	case 3:
		r.Use = []func(http.Handler) http.Handler{marked}
	case 4:
		r.Timeouts.Total = time.Minute
	}
	return r
}

func (w *twin) matcher(depth int) router.Matcher {
	n := 24
	if depth > 0 {
		n = 27
	}
	two := func() []router.Matcher { return []router.Matcher{w.matcher(depth - 1), w.matcher(depth - 1)} }
	switch w.rnd.IntN(n) {
	case 0:
		return router.Host("shop.example")
	case 1:
		return router.Method("GET")
	case 2:
		return router.Header("Dnt")
	case 3:
		return router.Cookie("_ga")
	case 4:
		return router.Client(netip.MustParsePrefix("192.0.2.0/25"))
	case 5:
		return pick(w.rnd, router.Query("b", "c"), router.Query("utm_source"), router.Not(router.Query("b")))
	case 6:
		return router.Scheme(pick(w.rnd, "http", "https"))
	case 7:
		return pick(w.rnd, router.HeaderContains("Accept-Language", "e"), router.HeaderRegexp("Dnt", "1"))
	case 8:
		return router.PathSuffix("/1", "y")
	case 24:
		return router.All(two()...)
	case 25:
		return router.Any(two()...)
	case 26:
		return router.Not(w.matcher(depth - 1))
	}
	return router.Path([][]string{{"/a/*"}, {"/b", "/b/*"}, {"/{x}/1"}, {"/lang"}, {"/coded", "/a/1;v"}}[w.rnd.IntN(5)]...)
}

func (w *twin) handler(name string, depth int) http.Handler {
	h := w.pages.Handler(w.backend(name))
	if depth == 0 {
		return h
	}
	switch w.rnd.IntN(30) {
	case 0:
		return w.router(name+".inner", 0)
	case 1:
		s, err := router.NewSplit("arm", router.Arm{Name: "x", Weight: 1, To: h}, router.Arm{Name: "y", Weight: 1, To: w.pages.Handler(w.backend("y"))})
		if err != nil {
			panic(err)
		}
		return s
	case 2:
		return health.Wrap(marked(h), h)
	case 3:
		return router.Fallback(h, w.backend("fallback"))
	case 4:
		return w.backend(name)
	case 5, 6, 7, 8, 9, 10, 11:
		return w.zip.Handler(h)
	}
	return h
}

// backend says who it is, how often that was asked, and the version; its header
// goes by the path.
func (w *twin) backend(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		what := fmt.Sprint(r.Method, r.Header["X-Forwarded-Proto"], r.Host, r.URL)
		w.mu.Lock()
		w.asked[what]++
		asked := w.asked[what]
		w.mu.Unlock()
		h := rw.Header()
		h.Set("Content-Type", "text/plain")
		h.Set("Cache-Control", "public, max-age=60")
		if !w.together {
			h.Set("Cache-Control", "public, max-age=60, stale-while-revalidate=20")
		}
		h.Set("Cache-Tag", "t"+strconv.Itoa(len(r.URL.Path)%3))
		h.Set("Etag", `"`+w.said+`"`)
		body := fmt.Sprintf("%s %s %s %s %d %s\n", name, transitScheme(r), r.Host, r.URL, asked, w.said)
		if strings.HasPrefix(r.URL.Path, "/a/") && len(w.said) > 1 { // it changes its mind
			h.Set("No-Vary-Search", map[bool]string{true: "params", false: `params=("utm_source")`}[len(w.said) == 2])
		}
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/coded"):
			h.Set("Vary", "Accept-Encoding")
			for _, coding := range []string{"br", "gzip"} {
				if strings.Contains(r.Header.Get("Accept-Encoding"), coding) {
					h.Set("Content-Encoding", coding)
					break
				}
			}
		case strings.HasPrefix(path, "/lang"):
			if lang := r.Header.Get("Accept-Language"); lang != "" || strings.HasSuffix(path, "/1") {
				h.Set("Vary", "Accept-Language")
				h.Set("Content-Language", lang)
			}
		case strings.HasPrefix(path, "/gone"):
			rw.WriteHeader(http.StatusNotFound)
		case strings.HasPrefix(path, "/private"):
			h.Set("Cache-Control", "private")
		case strings.HasPrefix(path, "/big"):
			body += strings.Repeat("0123456789", 1000*len(path))
		case strings.HasPrefix(path, "/text"):
			n := 5000
			if path == "/text/1" { // more than 32 KiB in any form
				n = 80_000
			}
			body += markup(n)
			if strings.HasSuffix(path, "no") {
				h.Add("Cache-Control", "no-transform")
			}
		case strings.HasPrefix(path, "/odd"):
			if path == "/odd/1" {
				h["Set-Cookie"] = []string{"a=1", "b=2"}
			}
			h["X-Twice"] = []string{"1", "2"}
			h.Set("Age", "7")
			h.Set("Cache-Status", "inner; hit; ttl=9")
		case strings.HasPrefix(path, "/bare"):
			h["Content-Type"] = nil
		}
		if len(r.URL.Path)%2 == 0 {
			h.Set("Content-Length", strconv.Itoa(len(body)))
		}
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(rw, body)
		}
	})
}

// markup is n bytes of text.
func markup(n int) string {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "<li>%x\n", rnd.Uint32())
	}
	return b.String()[:n]
}

func transitScheme(r *http.Request) string { return r.Header.Get("X-Forwarded-Proto") }

// play has made up things happen to both.
func (p *twins) play(t *testing.T) {
	defer p.close()
	var happened []string
	for i := range 250 {
		what, do := p.step()
		happened = append(happened, what)
		a := do(p.a)
		synctest.Wait()
		b := do(p.b)
		synctest.Wait()
		if a != b {
			t.Errorf("step %d, %s: from the head\n%s\nby the chain\n%s\nafter\n%s", i, what, a, b, strings.Join(happened[max(0, i-12):], "\n"))
			return
		}
	}
	if a, b := p.a.logged(), p.b.logged(); a != b {
		t.Errorf("logged:\n%s", difference(a, b))
	}
	if a, b := p.a.reports(), p.b.reports(); a != b {
		t.Errorf("reported:\n%s", difference(a, b))
	}
}

func (p *twins) close() {
	for _, w := range []*twin{p.a, p.b} {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.stop()
		w.ended.Wait()
		_ = w.pages.Close()
	}
	synctest.Wait()
}

// step makes up what happens next, and says so.
func (p *twins) step() (what string, do func(*twin) string) {
	kind := p.rnd.IntN(100)
	switch {
	case kind < 2:
		d := time.Duration(1+p.rnd.IntN(90)) * time.Second
		slept := false // their clock is one
		return "pause " + d.String(), func(*twin) string {
			if !slept {
				time.Sleep(d) // the play is in a bubble
			}
			slept = true
			return ""
		}
	case kind < 6:
		inv := p.invalidation()
		return fmt.Sprintf("purge %+v", inv), func(w *twin) string {
			done, err := w.pages.Invalidate(context.Background(), inv)
			return fmt.Sprint(done, err)
		}
	case kind < 7:
		seed := p.rnd.Uint64()
		return "update", func(w *twin) string {
			w.rnd = rand.New(rand.NewPCG(seed, 3))
			for w.rt.Update(w.rules(1)...) != nil {
			}
			return ""
		}
	case kind < 10:
		said := strconv.Itoa(p.rnd.IntN(1000))
		return "version " + said, func(w *twin) string { w.said = said; return "" }
	}
	if kind < 50 && p.again != nil {
		return "again", p.again
	}
	peer := pick(p.rnd, "10.0.0.1", "192.0.2.1", "198.51.100.7")
	var raw strings.Builder
	var methods []string
	seen := make(map[string]bool)
	n := 1
	if p.a.together {
		n += max(0, p.rnd.IntN(6)-2)
	}
	for range n {
		h := p.request()
		path, _, _ := strings.Cut(strings.Fields(h.line)[1], "?")
		if path = path[strings.LastIndexByte(path, '/'):]; seen[path] { // whether the fetch before has ended is chance
			continue
		}
		seen[path] = true
		methods = append(methods, h.method)
		raw.WriteString(h.String())
	}
	p.again = func(w *twin) string { return w.ask(peer, raw.String(), methods) }
	return peer + " asks " + strconv.Quote(raw.String()), p.again
}

func pick[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

func (p *twins) invalidation() (inv cache.Invalidation) {
	switch p.rnd.IntN(8) {
	case 0:
		inv.Tags = []string{"t1"}
	case 1:
		inv.Host = "shop.example"
	case 2:
		inv.PathPrefix = "/a"
	case 3:
		inv.All = true
	default:
		inv.URL = "http://shop.example" + p.path()
	}
	inv.Hard = p.rnd.IntN(2) == 0
	return inv
}

func (p *twins) path() string {
	return pick(p.rnd, "/", "/a/1", "/a/1", "/a/2", "/b", "/b/1", "/coded", "/coded", "/coded/1", "/lang", "/lang/1", "/gone", "/big/1", "/big/1234", "/text", "/text", "/text/1", "/text/no", "/odd", "/odd/1", "/bare",
		"/a/%31", "/a//1", "/a/1;v", "/a/../a/1", "/admin", "/%61dmin", "/A/1", "/private", "/a/1?b=c", "/a/1?utm_source=x", "/a/1?utm_source=x&b=c", "/a/caf%C3%A9", "/a/café")
}

// request makes up a request's head, or takes one of those before, with another
// line perhaps: most of what is asked is asked again.
func (p *twins) request() head {
	if len(p.recent) > 2 && p.rnd.IntN(16) > 0 {
		h := pick(p.rnd, p.recent...)
		if p.rnd.IntN(4) == 0 {
			h.fields += pick(p.rnd, pick(p.rnd, fieldLines...)...) + "\r\n"
		}
		return h
	}
	rnd := p.rnd
	h := head{method: "GET", end: "\r\n"}
	if rnd.IntN(14) == 0 {
		h.method = pick(rnd, "HEAD", "POST", "OPTIONS", "GET")
	}
	path := p.path()
	host := pick(rnd, "shop.example", "shop.example", "shop.example", "shop.example", "SHOP.example", "shop.example:80", "shop.example:443", "other.example", "shop.example.")
	to, version := path, "HTTP/1.1"
	if rnd.IntN(20) == 0 {
		to = pick(rnd, "http://shop.example", "https://shop.example", "http://other.example:80", "http://SHOP.example") + path
	}
	if rnd.IntN(40) == 0 {
		version = "HTTP/1.0"
	}
	h.line = fmt.Sprintf("%s %s %s\r\n%s: %s\r\n", h.method, to, version, pick(rnd, "Host", "host"), host)
	likely := fieldLines[:13]
	if rnd.IntN(4) == 0 {
		likely = fieldLines
	}
	for _, list := range likely {
		if rnd.IntN(6) == 0 {
			h.fields += pick(rnd, list...) + "\r\n"
		}
	}
	if h.method == "POST" {
		h.end = "Content-Length: 2\r\n\r\nab"
	}
	if p.recent = append(p.recent, h); len(p.recent) > 6 {
		p.recent = p.recent[1:]
	}
	return h
}

// fieldLines are fields of requests, those first that are usual.
var fieldLines = [][]string{
	{"User-Agent: a", "User-Agent: Mozilla/5.0 (Android; Mobile)", "user-agent: b", "User-Agent:"},
	{"Accept-Language: de", "Accept-Language: en, de;q=0.5"},
	{"Accept-Encoding: gzip", "Accept-Encoding: gzip, deflate, br", "Accept-Encoding: br,gzip", "Accept-Encoding: gzip, deflate", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Encoding: zstd", "Accept-Encoding:"},
	{"Cookie: _ga=1", "Cookie: _ga=2; _gid=3", "Cookie: ;", "Cookie: _ga", "cookie: _fbp=1"},
	{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.200, 10.0.0.9", "X-Forwarded-For: nobody"},
	{"X-Forwarded-Proto: https", "X-Forwarded-Proto: http", "X-Forwarded-Proto: wss", "X-Forwarded-Proto: HTTPS"},
	{"X-Request-Id: abc", "X-Request-Id: a b"},
	{"Connection: keep-alive", "Connection: Keep-Alive"},
	{"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nTracestate: a=1\r\ntracestate: b=2", "Traceparent: 01", "Tracestate: a=1", "Baggage: a=1"},
	{"Referer: http://a/", "Sec-Fetch-Mode: navigate", "Priority: u=1", "Via: 1.1 x", "Origin: http://a"},
	{"Dnt: 1"},
	{"If-None-Match: \"0\"", "If-None-Match: W/\"0\", \"1\"", "If-None-Match: *", "If-None-Match: \"1\"", "If-None-Match:"},
	{"If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT", "If-Modified-Since: Mon, 01 Jan 1990 00:00:00 GMT", "If-Modified-Since: then"},
	{"Cookie: sid=1", "Cookie: _ga=1; group=b", "Cookie: group=b", "Cookie: arm=y", "Cookie: {}", "cookie: cart=1"},
	{"Accept-Encoding: br;q=0, gzip", "Accept-Encoding: *", "Accept-Encoding: identity;q=0", "Accept-Encoding: br", "Accept-Encoding: br;q=0.5, gzip", "Accept-Encoding: zstd;q=0.9, identity"},
	{"X-Forwarded-Proto: http, https", "X-Forwarded-Proto: ftp"},
	{"Connection: keep-alive, Cookie", "Connection: close", "Connection: te"},
	{"X-V: 1", "X-V: 2", "X_V: 1"},
	{"Cache-Control: no-cache", "Cache-Control: max-age=0", "Pragma: no-cache", "Cache-Control: only-if-cached", "Cache-Control: no-store"},
	{"Range: bytes=0-3", "If-None-Match: *", "If-None-Match: \"0\"", "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT", "If-Match: \"0\""},
	{"Authorization: Basic YTpi", "Expect: 100-continue", "Upgrade: websocket", "Te: trailers", "Content-Length: 0", "X-Route-Trace: 1"},
	{"X-Forwarded-Host: evil", "Forwarded: for=1.2.3.4", "X-Original-Url: /admin", "Bad Name: 1", "X-Long: " + strings.Repeat("x", 3000)},
}

// A pipeClient is the other end of a connection, of which what came is kept.
type pipeClient struct {
	net.Conn
	in   *bufio.Reader
	came bytes.Buffer
}

// ask sends raw, which are requests of these methods, over a connection of a
// peer's, and returns what comes back.
func (w *twin) ask(peer, raw string, methods []string) string {
	c := w.conns[peer]
	if c == nil {
		c = &pipeClient{Conn: w.comers.dial(peer)}
		c.in = bufio.NewReader(io.TeeReader(c.Conn, &c.came))
		w.conns[peer] = c
	}
	c.came.Reset()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, raw) // a connection that is closed takes no more
	}()
	ends := false
	for _, method := range methods {
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		res, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&c.came, "(%v)", err)
			ends = true
			break
		}
		_, err = io.Copy(io.Discard, res.Body)
		if ends = err != nil || res.Close || res.StatusCode == http.StatusSwitchingProtocols; ends {
			break
		}
	}
	if ends {
		_, _ = io.Copy(io.Discard, c.in) // what still comes
		_ = c.Close()
		delete(w.conns, peer)
	}
	<-sent
	return made.ReplaceAllString(c.came.String(), "X-Request-Id: made")
}

// made is a name that a request has got by chance.
var made = regexp.MustCompile(`X-Request-Id: [0-9a-f]{16}\b`)

// logged is the log, but for what is random.
func (w *twin) logged() string {
	var b strings.Builder
	for line := range strings.Lines(w.lines.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil {
			if id, _ := m["id"].(string); len(id) == 16 {
				delete(m, "id")
			}
			if trace, _ := m["trace"].(string); trace != "" && trace != "4bf92f3577b34da6a3ce929d0e0e4736" {
				m["trace"] = len(trace)
			}
			delete(m, "addr")
			delete(m, "stack")
			text, _ := json.Marshal(m)
			line = string(text) + "\n"
		}
		b.WriteString(line)
	}
	return b.String() + w.combined.String() + w.spans.String()
}

// reports are those of all parts, but for what memory they take.
func (w *twin) reports() string {
	var b strings.Builder
	var write func(r health.Report)
	write = func(r health.Report) {
		for _, m := range r.Metrics {
			if m.Name == "saved_bytes_total" || m.Name != "requests_instant_total" && !strings.Contains(m.Name, "bytes") && m.Unit != "bytes" {
				fmt.Fprintf(&b, "%s %s: %s %v %v\n", r.Kind, r.Name, m.Name, m.Labels, m.Value)
			}
		}
		for _, part := range r.Parts {
			write(part)
		}
	}
	for _, r := range []health.Reporter{w.srv, w.rt, w.pages, w.zip} {
		write(r.Report())
	}
	return b.String()
}

// difference is where two texts first differ.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i] != y[i] {
			at := func(z []string) string {
				if i < len(z) {
					return z[i]
				}
				return "(nothing)"
			}
			return fmt.Sprintf("line %d: %s\nbut\n%s", i, at(x), at(y))
		}
	}
	return ""
}

// metric is one of a report's own.
func metric(r health.Report, name string) float64 {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// comers is a listener of pipes.
type comers chan net.Conn

func (l comers) dial(from string) net.Conn {
	here, there := net.Pipe()
	l <- comer{there, &net.TCPAddr{IP: net.ParseIP(from), Port: 1024}}
	return here
}

func (l comers) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l comers) Close() error {
	close(l)
	return nil
}

func (comers) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

type comer struct {
	net.Conn
	from net.Addr
}

func (c comer) RemoteAddr() net.Addr { return c.from }
