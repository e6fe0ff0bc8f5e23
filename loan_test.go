package foretier_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
)

// A keeper keeps what it is shown of the first request that it sees.
type keeper struct {
	mu   sync.Mutex
	r    *http.Request
	w    http.Header
	seen int // how many contexts there were
	ctx  context.Context
	line slog.Record
}

// request keeps r.
func (k *keeper) request(r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.r == nil && r.URL.Path == "/kept" {
		k.r, k.ctx = r, r.Context()
	}
}

// header keeps that of w.
func (k *keeper) header(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.w == nil && r.URL.Path == "/kept" {
		k.w = w.Header()
	}
}

// context keeps ctx, and line.
func (k *keeper) context(ctx context.Context, line slog.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen++; k.seen == 4 { // those before may be of new connections
		k.ctx, k.line = ctx, line
	}
}

// around keeps what next is asked, and with which writer.
func (k *keeper) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.request(r)
		k.header(w, r)
		next.ServeHTTP(w, r)
	})
}

// Enabled and Handle make it a slog.Handler that keeps its context and the first line.
func (k *keeper) Enabled(context.Context, slog.Level) bool { return true }
func (k *keeper) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *keeper) WithGroup(string) slog.Handler            { return k }
func (k *keeper) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "request" {
		k.context(ctx, line)
	}
	return nil
}

// tells is all that the keeper has, in words.
func (k *keeper) tells() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	headers := func(h http.Header) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			fmt.Fprintf(&b, "%s: %q\n", name, h[name])
		}
	}
	if k.r != nil {
		fmt.Fprintln(&b, k.r.Method, k.r.URL, k.r.RequestURI, k.r.Host, k.r.Proto, k.r.RemoteAddr, k.r.Pattern, k.r.ContentLength)
		headers(k.r.Header)
	}
	headers(k.w)
	if k.ctx != nil {
		fmt.Fprintf(&b, "context of rule %q, %v\n", router.RuleName(k.ctx), context.Cause(k.ctx))
	}
	k.line.Attrs(func(a slog.Attr) bool {
		fmt.Fprintln(&b, a.Key, a.Value.Resolve())
		return true
	})
	return b.String()
}

// A way is how a tier for a test is made: what stands where a team's own code may.
type way struct {
	edge  edge.Options
	front func(http.Handler) http.Handler // around the router
	rule  router.Rule
	next  func(http.Handler) http.Handler // around the pool
	pool  balancer.Options
}

// run runs a tier of edge, router, compressor and pool before app.
func (y way) run(t *testing.T, apps ...string) (addr string) {
	quiet := slog.New(slog.DiscardHandler)
	y.pool.Logger = quiet
	pool := must(balancer.New(balancer.Backends(apps...), y.pool))
	t.Cleanup(func() { _ = pool.Close() })
	y.rule.Name, y.rule.To = "shop", pool
	if y.next != nil {
		y.rule.To = y.next(pool)
	}
	y.rule.To = must(compress.New(compress.Options{})).Handler(y.rule.To)
	rules := []router.Rule{y.rule}
	if y.rule.When != nil {
		rules = append(rules, router.Rule{Name: "rest", To: pool})
	}
	var front http.Handler = must(router.New(router.Options{}, rules...))
	if y.front != nil {
		front = y.front(front)
	}
	y.edge.Addr, y.edge.Linger = "127.0.0.1:0", -1
	if y.edge.Logger == nil {
		y.edge.Logger, y.edge.NoAccessLog = quiet, true
	}
	srv := must(edge.New(front, y.edge))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return srv.Addr().String()
}

// page is a server that answers each request with what the request says, without a
// package of HTTP's that would take memory.
func page(t testing.TB) (url string) {
	return "http://" + testkit.Backend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		var head, out []byte
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if head = append(head, line...); len(line) > 2 {
				continue
			}
			out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Said: 1\r\nContent-Length: 1024\r\n\r\n"...)
			at := len(out)
			out = append(out, head[:min(len(head), 1024)]...)
			for len(out)-at < 1024 {
				out = append(out, '.')
			}
			if _, err := c.Write(out); err != nil {
				return
			}
			head = head[:0]
		}
	})
}

// TestWhatIsKeptStaysAsItIs, whoever keeps it: what a request is made of serves another
// one only if it was in nobody's hands but the tier's own.
func TestWhatIsKeptStaysAsItIs(t *testing.T) {
	ways := map[string]func(k *keeper) way{
		"around the router": func(k *keeper) way { return way{front: k.around} },
		"in a rule's Use": func(k *keeper) way {
			return way{rule: router.Rule{Use: []func(http.Handler) http.Handler{k.around}}}
		},
		"around the pool": func(k *keeper) way { return way{next: k.around} },
		"in a matcher": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Test("keep", func(r *http.Request) bool { k.request(r); return true })}}
		},
		"in a matcher that says no": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Test("keep", func(r *http.Request) bool { k.request(r); return false })}}
		},
		"in a limit": func(k *keeper) way {
			return way{rule: router.Rule{Limit: router.Limit{Rate: 1e6, Burst: 1e6, By: router.ByFunc("keep", func(r *http.Request) string { k.request(r); return "" })}}}
		},
		"in the pool's guard": func(k *keeper) way {
			return way{pool: balancer.Options{Refuse: router.Test("keep", func(r *http.Request) bool { k.request(r); return false })}}
		},
		"in the pool's trace": func(k *keeper) way {
			return way{pool: balancer.Options{Trace: &balancer.Trace{Tried: func(ctx context.Context, _ balancer.Attempt) { k.context(ctx, slog.Record{}) }}}}
		},
		"in the log": func(k *keeper) way { return way{edge: edge.Options{Logger: slog.New(k)}} },
	}
	for name, of := range ways {
		t.Run(name, func(t *testing.T) {
			var k keeper
			addr := of(&k).run(t, page(t))
			ask := func(c net.Conn, in *bufio.Reader, path string) {
				fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: %s.example\r\nCookie: visitor=%s\r\nX-Own: %s\r\n\r\n", path, path, path, path)
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "Cookie: visitor="+path+"\r\n") {
					t.Fatalf("%s got %q, %v", path, body, err)
				}
			}
			c := testkit.Dial(t, addr)
			in := bufio.NewReader(c)
			for range 3 {
				ask(c, in, "before")
			}
			ask(c, in, "kept")
			ask(c, in, "and") // with which the one before is over
			kept := k.tells()
			if !strings.Contains(kept, "kept") && !strings.Contains(kept, "context") {
				t.Fatalf("nothing was kept: %s", kept)
			}
			for i := range 50 {
				ask(c, in, fmt.Sprint("another-", i))
			}
			if now := k.tells(); now != kept {
				t.Errorf("what was kept was\n%s\nand is\n%s", kept, now)
			}
		})
	}
}

// TestAProxiedPageTakesLittleMemory: of what nobody else has in hand, most comes back.
func TestAProxiedPageTakesLittleMemory(t *testing.T) {
	most := struct{ size, pieces uint64 }{768, 10}
	if testkit.PoolsLose() { // a quarter of what comes back, too: without that it were 13,800 and 25
		most.size, most.pieces = 12_000, 22
	}
	addr := way{}.run(t, page(t))
	c := testkit.Dial(t, addr)
	raw, buf := []byte("GET /product/1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: a=1\r\n\r\n"), make([]byte, 8<<10)
	ask := func() {
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
			if _, body, ok := bytes.Cut(buf[:n], []byte("\r\n\r\n")); ok && len(body) >= 1024 {
				return
			}
		}
	}
	for range 100 {
		ask()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 2000
	for range n {
		ask()
	}
	runtime.ReadMemStats(&after)
	if size, pieces := (after.TotalAlloc-before.TotalAlloc)/n, (after.Mallocs-before.Mallocs)/n; size > most.size || pieces > most.pieces {
		t.Errorf("a page takes %d bytes in %d pieces, want %d and %d at most", size, pieces, most.size, most.pieces)
	} else {
		t.Logf("a page takes %d bytes in %d pieces", size, pieces)
	}
}

// TestNobodyGetsAnothersPage, whatever becomes of others' requests: many are given up,
// break off, are tried again at a server that is there, come in one piece, or are answered
// in many.
func TestNobodyGetsAnothersPage(t *testing.T) {
	steady := "http://" + testkit.Backend(t, said)
	addr := way{pool: balancer.Options{Retries: balancer.Retries{Budget: 1}}}.run(t, steady, wavering(t))
	var all tally
	end := time.Now().Add(3 * time.Second)
	var visitors sync.WaitGroup
	for i := range 24 {
		visitors.Go(func() {
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				if err := visit(addr, fmt.Sprintf("%d-%d", i, n), &all); err != nil {
					t.Error(err)
				}
			}
		})
	}
	visitors.Wait()
	served, broken, coded := all.served.Load(), all.broken.Load(), all.coded.Load()
	t.Logf("%d served, of which %d compressed, %d not, of which some were meant to break off", served, coded, broken)
	if served < 100 || coded == 0 || broken == 0 || broken > served {
		t.Errorf("%d served, %d compressed and %d not are no test", served, coded, broken)
	}
}

// A tally counts answers: whole ones, those among them that were compressed, others.
type tally struct{ served, coded, broken atomic.Int64 }

// said answers each request of a connection with lines of what its X-Own says.
func said(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		own := r.Header.Get("X-Own")
		if body, err := io.ReadAll(r.Body); err != nil || len(body) > 0 && string(body) != own {
			own = "another's body"
		}
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Said: " + own + "\r\n"
		line := own + "\n"
		switch r.URL.Query().Get("as") {
		case "cut":
			_, _ = io.WriteString(c, head+"Content-Length: 1000\r\n\r\n"+line)
			return
		case "silent":
			return
		case "coded":
			page := strings.Repeat(line, 100)
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(page), page)
		case "large":
			page := strings.Repeat(line, 10_000)
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(page), page)
		case "pieces":
			fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: <%s>\r\n\r\n%sTransfer-Encoding: chunked\r\n\r\n", own, head)
			for range 5 { // an error shows with the end
				runtime.Gosched()
				fmt.Fprintf(c, "%x\r\n%s\r\n", len(line), line)
			}
			_, err = io.WriteString(c, "0\r\n\r\n")
		default:
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(line), line)
		}
		if err != nil {
			return
		}
	}
}

// wavering is a server that is there half of the time, and closes what is open when it
// goes.
func wavering(t *testing.T) (url string) {
	addr := fmt.Sprint("127.0.0.1:", servertest.FreePort(t))
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { stop(); all.Wait() })
	tick := time.NewTicker(20 * time.Millisecond)
	all.Go(func() {
		defer tick.Stop()
		for ctx.Err() == nil {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			var open sync.WaitGroup
			there, leave := context.WithCancel(ctx)
			open.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					open.Go(func() {
						defer c.Close()
						defer context.AfterFunc(there, func() { _ = c.Close() })()
						said(c)
					})
				}
			})
			<-tick.C
			_ = l.Close()
			leave()
			open.Wait()
			<-tick.C
		}
	})
	return "http://" + addr
}

// visit is one connection of a visitor's.
func visit(addr, name string, all *tally) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	in := bufio.NewReader(c)
	for range 30 {
		kind := rand.IntN(20)
		as := map[int]string{0: "cut", 1: "silent", 2: "large", 3: "large", 4: "pieces", 5: "pieces", 8: "coded", 9: "coded"}[kind]
		var own []string
		var text strings.Builder
		for i := range 1 + kind%3 { // some in one piece
			own = append(own, fmt.Sprintf("%s-%d-%d", name, rand.Uint32(), i))
			method, body := "GET", ""
			if kind == 6 {
				method, body = "POST", own[i]
			}
			fmt.Fprintf(&text, "%s /%s?as=%s HTTP/1.1\r\nHost: shop.example\r\nX-Own: %s\r\nContent-Length: %d\r\n", method, own[i], as, own[i], len(body))
			if as == "coded" {
				text.WriteString("Accept-Encoding: gzip\r\n")
			}
			text.WriteString("\r\n" + body)
		}
		if _, err := io.WriteString(c, text.String()); err != nil {
			return nil // it was closed behind an answer that broke off
		}
		if kind == 7 {
			return nil // without an answer
		}
		for i := range own {
			whole, err := all.hears(in, own[i])
			if err != nil {
				return err
			}
			if !whole {
				all.broken.Add(1)
				return nil
			}
			all.served.Add(1)
		}
	}
	return nil
}

// hears reports whether what in brings is a whole answer, which is own's then.
func (all *tally) hears(in *bufio.Reader, own string) (whole bool, err error) {
	res, err := http.ReadResponse(in, nil)
	for ; err == nil && res.StatusCode == http.StatusEarlyHints; res, err = http.ReadResponse(in, nil) {
		if link := res.Header.Get("Link"); link != "<"+own+">" {
			return false, fmt.Errorf("%s is told early of %s", own, link)
		}
	}
	if err != nil {
		return false, nil
	}
	defer res.Body.Close()
	var page io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" {
		if page, err = gzip.NewReader(page); err != nil {
			return false, nil
		}
		all.coded.Add(1)
	}
	body, err := io.ReadAll(page)
	if res.StatusCode != http.StatusOK {
		return false, nil
	}
	if said := res.Header.Get("X-Said"); said != own {
		return false, fmt.Errorf("%s is said %s", own, said)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasSuffix(line, "\n") && line != own+"\n" {
			return false, fmt.Errorf("%s gets %s", own, line)
		}
	}
	return err == nil, nil
}
