package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/codings"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
)

// A shop is a tier of which all pages are stored: /1000 has a thousand bytes, and
// the version of the moment.
type shop struct {
	srv     *edge.Server
	rt      *router.Router
	pages   *cache.Cache
	version atomic.Int64
}

func newShop(tb testing.TB, opts edge.Options, cached cache.Options) *shop {
	tb.Helper()
	s := new(shop)
	var err error
	if s.pages, err = cache.New(cached); err != nil {
		tb.Fatal(err)
	}
	if s.rt, err = router.New(router.Options{}, s.rules()...); err != nil {
		tb.Fatal(err)
	}
	s.srv = serve(tb, s.rt, opts)
	return s
}

func (s *shop) rules() []router.Rule {
	return []router.Rule{{Name: "admin", When: router.Admin("/admin"), To: http.NotFoundHandler()}, {Name: "shop", To: s.pages.Handler(http.HandlerFunc(s.page))}}
}

func (s *shop) page(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Cache-Tag", "shop")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	text := fmt.Sprintf("version %d ", s.version.Load())
	_, _ = w.Write(bytes.Repeat([]byte(text), size/len(text)+1)[:size])
}

func (s *shop) instant() int { return int(metric(s.srv.Report(), "requests_instant_total")) }

// browser is the head of a request as a browser sends it.
const browser = "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9\r\nCookie: _ga=GA1.1.1234; _fbp=fb.1.1234\r\n\r\n"

// taught has the page at path asked until it is answered from its head, and
// returns how long that answer is.
func (s *shop) taught(tb testing.TB, c net.Conn, raw string) int {
	tb.Helper()
	var came bytes.Buffer
	for range 3 {
		came.Reset()
		if _, err := io.WriteString(c, raw); err != nil {
			tb.Fatal(err)
		}
		readAnswer(tb, io.TeeReader(c, &came))
	}
	if s.instant() == 0 {
		tb.Fatalf("not answered from the head: %q", came.String()[:min(came.Len(), 500)])
	}
	return came.Len()
}

// readAnswer reads one answer, byte by byte as far as its header goes, and
// returns its body.
func readAnswer(tb testing.TB, r io.Reader) []byte {
	tb.Helper()
	head, b := []byte(nil), make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(r, b); err != nil {
			tb.Fatalf("after %q: %v", head, err)
		}
		head = append(head, b...)
	}
	_, rest, _ := bytes.Cut(head, []byte("Content-Length: "))
	line, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, err := strconv.Atoi(string(line))
	if err != nil {
		tb.Fatalf("in %q: %v", head, err)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		tb.Fatal(err)
	}
	return body
}

// TestInstantBelowACompressor: what a cache has compressed is answered from its head,
// also where middleware compresses the rest.
func TestInstantBelowACompressor(t *testing.T) {
	s := newShop(t, edge.Options{}, cache.Options{IgnoreCookies: cache.Analytics(), Compress: codings.All()})
	zip, err := compress.New(compress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rules := s.rules()
	last := &rules[len(rules)-1]
	last.To = zip.Handler(last.To)
	if err := s.rt.Update(rules...); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{20_000, 3_000_000} { // in one piece, and in several
		c := testkit.Dial(t, s.srv.Addr().String())
		raw := fmt.Sprintf(browser, "/"+strconv.Itoa(size))
		var body []byte
		before := s.instant()
		testkit.Within(t, 10*time.Second, "an answer from its head", func() bool {
			if _, err := io.WriteString(c, raw); err != nil {
				t.Fatal(err)
			}
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			} else if body, err = io.ReadAll(res.Body); err != nil {
				t.Fatal(err)
			} else if coding := res.Header.Get("Content-Encoding"); coding != "br" && s.instant() > before {
				t.Fatalf("in %q", coding)
			}
			return s.instant() > before
		})
		page, err := io.ReadAll(brotli.NewReader(bytes.NewReader(body)))
		if err != nil || len(page) != size {
			t.Errorf("%d bytes of %d: %v", len(page), len(body), err)
		}
	}
}

var analytics = cache.Options{IgnoreCookies: cache.Analytics()}

// TestInstantAllocatesNothing on an answer of up to 32 KiB, whose request is a
// browser's.
func TestInstantAllocatesNothing(t *testing.T) {
	for name, opts := range map[string]edge.Options{
		"off":      {NoAccessLog: true},
		"text":     {Logger: slog.New(edge.NewLogHandler(io.Discard, edge.LogOptions{}))},
		"json":     {Logger: slog.New(edge.NewLogHandler(edge.NewLogWriter(io.Discard, nil), edge.LogOptions{JSON: true}))},
		"combined": {Combined: io.Discard},
	} {
		t.Run(name, func(t *testing.T) { allocatesNothing(t, opts) })
	}
}

func allocatesNothing(t *testing.T, opts edge.Options) {
	s := newShop(t, opts, analytics)
	lost := 0.0
	if testkit.PoolsLose() {
		lost = 6 // of what a request has from them, a quarter
	}
	for _, size := range []string{"/1000", "/32000", "/300000"} {
		c := testkit.Dial(t, s.srv.Addr().String())
		raw := fmt.Sprintf(browser, size)
		s.taught(t, c, raw)
		out, in := []byte(raw), make([]byte, s.taught(t, c, raw))
		if n := testing.AllocsPerRun(2000, func() { askRaw(t, c, out, in) }); n > lost {
			t.Errorf("%s: %v allocations", size, n)
		}
	}
}

// askRaw sends out and reads as much as there is room for in in.
func askRaw(tb testing.TB, c net.Conn, out, in []byte) {
	if _, err := c.Write(out); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c, in); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkInstant asks for a stored page over and over, by the chain and from
// the head.
func BenchmarkInstant(b *testing.B) {
	for _, noInstant := range []bool{true, false} {
		name := map[bool]string{true: "chain", false: "head"}[noInstant]
		for logged, h := range map[string]slog.Handler{
			"/slog":   slog.NewJSONHandler(io.Discard, nil),
			"/logged": edge.NewLogHandler(io.Discard, edge.LogOptions{JSON: true}),
		} {
			b.Run(name+logged, func(b *testing.B) {
				benchmarkInstant(b, "/1024", edge.Options{Logger: slog.New(h), NoInstant: noInstant})
			})
		}
	}
	for _, size := range []string{"/1024", "/16384", "/262144"} {
		for _, noInstant := range []bool{true, false} {
			name := map[bool]string{true: "chain", false: "head"}[noInstant]
			b.Run(name+size, func(b *testing.B) { benchmarkInstant(b, size, edge.Options{NoAccessLog: true, NoInstant: noInstant}) })
		}
	}
}

func benchmarkInstant(b *testing.B, path string, opts edge.Options) {
	s := newShop(b, opts, analytics)
	c := testkit.Dial(b, s.srv.Addr().String())
	_ = c.SetDeadline(time.Time{}) // a benchmark may take its time
	raw := fmt.Sprintf(browser, path)
	var came bytes.Buffer
	for range 4 {
		came.Reset()
		_, _ = io.WriteString(c, raw)
		readAnswer(b, io.TeeReader(c, &came))
	}
	out, in := []byte(raw), make([]byte, came.Len())
	b.ReportAllocs()
	for b.Loop() {
		askRaw(b, c, out, in)
	}
}

// TestInstantTogether: requests that come together are answered in order,
// whoever answers each.
func TestInstantTogether(t *testing.T) {
	s := newShop(t, edge.Options{NoAccessLog: true}, analytics)
	c := testkit.Dial(t, s.srv.Addr().String())
	paths := []string{"/10", "/1000", "/20000", "/40000", "/admin", "/30", "/31000", "/31001", "/300000", "/1", "/10"}
	for range 3 {
		for _, p := range paths {
			_, _ = io.WriteString(c, fmt.Sprintf(browser, p))
			readAnswer(t, c)
		}
	}
	before := s.instant()
	var raw strings.Builder
	for range 5 {
		for _, p := range paths {
			fmt.Fprintf(&raw, browser, p)
		}
	}
	text := raw.String()
	go func() {
		for len(text) > 0 { // in pieces that end anywhere
			n := min(len(text), 1777)
			_, _ = io.WriteString(c, text[:n])
			text = text[n:]
		}
	}()
	for range 5 {
		for _, p := range paths {
			want, _ := strconv.Atoi(p[1:])
			if body := readAnswer(t, c); len(body) != want && p != "/admin" || !strings.HasPrefix("version 0 ", string(body[:min(len(body), 10)])) && p != "/admin" {
				t.Fatalf("%s: %d bytes", p, len(body))
			}
		}
	}
	if n := s.instant() - before; n != 5*(len(paths)-1) {
		t.Errorf("%d from their heads", n)
	}
}

// TestInstantEnds: by an update of the table, a purge of any kind, and a drain.
func TestInstantEnds(t *testing.T) {
	s := newShop(t, edge.Options{NoAccessLog: true}, analytics)
	c := testkit.Dial(t, s.srv.Addr().String())
	raw := fmt.Sprintf(browser, "/1000")
	for i, inv := range []*cache.Invalidation{
		{URL: "http://shop.example/1000", Hard: true}, {Tags: []string{"shop"}, Hard: true}, {Host: "shop.example", Hard: true}, {All: true, Hard: true}, {PathPrefix: "/", Hard: true}, nil,
	} {
		s.taught(t, c, raw)
		s.version.Add(1)
		want := fmt.Sprintf("version %d", i+1)
		if inv != nil {
			if _, err := s.pages.Invalidate(context.Background(), *inv); err != nil {
				t.Fatal(err)
			}
		} else {
			other := httptest.NewServer(nil)
			other.Close()
			want = "moved"
			if err := s.rt.Update(router.Rule{Name: "all", To: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				_, _ = io.WriteString(w, "moved")
			})}); err != nil {
				t.Fatal(err)
			}
		}
		before := s.instant()
		_, _ = io.WriteString(c, raw)
		if body := string(readAnswer(t, c)); !strings.HasPrefix(body, want) || s.instant() != before {
			t.Errorf("after %+v: %q", inv, body[:min(len(body), 20)])
		}
	}
}

// TestInstantIsGoneWithWhatIsStored: what was learned takes no memory beyond the
// cache's, and keeps nothing alive.
func TestInstantIsGoneWithWhatIsStored(t *testing.T) {
	s := newShop(t, edge.Options{NoAccessLog: true}, cache.Options{MaxBytes: 1 << 20})
	c := testkit.Dial(t, s.srv.Addr().String())
	for i := range 400 {
		for range 3 {
			_, _ = io.WriteString(c, "GET /10000?"+strconv.Itoa(i)+" HTTP/1.1\r\nHost: h\r\n\r\n")
			readAnswer(t, c)
		}
	}
	for i := range 300 { // of one page in as many spellings
		host := []byte("shopsexample")
		for j := range host {
			if i>>j&1 == 1 {
				host[j] -= 'a' - 'A'
			}
		}
		for range 2 {
			_, _ = io.WriteString(c, "GET /10 HTTP/1.1\r\nHost: "+string(host)+"\r\n\r\n")
			readAnswer(t, c)
		}
	}
	if s.instant() < 300 {
		t.Errorf("%d from their heads", s.instant())
	}
	if n := edge.Learned(s.srv); n < 10 || n > 110 {
		t.Errorf("%d are remembered, and fewer than 100 pages stored", n)
	}
	if used := metric(s.pages.Report(), "memory_used_bytes"); used < 1 || used > 1<<20 {
		t.Errorf("%v bytes", used)
	}
	if _, err := s.pages.Invalidate(context.Background(), cache.Invalidation{All: true, Hard: true}); err != nil {
		t.Fatal(err)
	}
	if n := edge.Learned(s.srv); n != 0 {
		t.Errorf("%d are remembered, and nothing stored", n)
	}
}

// TestInstantOfASlowClient: who takes nothing of a large page is cut off by the
// limit of time, and holds nothing afterwards.
func TestInstantOfASlowClient(t *testing.T) {
	l := new(lines)
	s := newShop(t, edge.Options{Logger: l.Logger(), Limits: edge.Limits{WriteStall: 200 * time.Millisecond}}, cache.Options{})
	raw := "GET /16000000 HTTP/1.1\r\nHost: h\r\n\r\n"
	s.taught(t, testkit.Dial(t, s.srv.Addr().String()), raw)
	slow := testkit.Dial(t, s.srv.Addr().String())
	_ = slow.SetReadBuffer(4 << 10)
	before := s.instant()
	_, _ = io.WriteString(slow, raw)
	testkit.Within(t, 10*time.Second, "it is cut off", func() bool {
		return metric(s.srv.Report(), "responses_total") > 0 && strings.Contains(l.String(), `"status":499`)
	})
	if s.instant() != before+1 {
		t.Error("not from its head")
	}
	l.Wants(t, `"msg":"client gone"`, `"cache":"hit"`, `"router":"shop"`, `"status":499`)
}

// TestAPurgeBeatsInstant: once a purge has returned, no answer that begins has
// what was purged, in as many schedules as FORETIER_SCHEDULES says.
func TestAPurgeBeatsInstant(t *testing.T) {
	rounds := 400
	if v := os.Getenv("FORETIER_SCHEDULES"); v != "" {
		rounds, _ = strconv.Atoi(v)
	}
	s := newShop(t, edge.Options{NoAccessLog: true}, analytics)
	var purged atomic.Int64 // the version before which all is purged
	var wg sync.WaitGroup
	defer wg.Wait()
	var over atomic.Bool
	defer over.Store(true)
	for i := range 4 {
		c := testkit.Dial(t, s.srv.Addr().String())
		_ = c.SetDeadline(time.Time{})
		path := []string{"/100", "/40000"}[i%2]
		wg.Go(func() {
			raw := fmt.Sprintf(browser, path)
			for !over.Load() {
				least := purged.Load()
				if _, err := io.WriteString(c, raw); err != nil {
					t.Error(err)
					return
				}
				body := readAnswer(t, c)
				text, _, _ := strings.Cut(string(body[len("version "):30]), " ")
				if got, err := strconv.ParseInt(text, 10, 64); err != nil || got < least {
					t.Errorf("got version %s after all before %d was purged: %v", text, least, err)
					return
				}
			}
		})
	}
	kinds := []cache.Invalidation{{All: true}, {Tags: []string{"shop"}}, {Host: "shop.example"}, {PathPrefix: "/"}, {URL: "http://shop.example/100"}}
	for i := range rounds {
		v := s.version.Add(1)
		inv := kinds[i%len(kinds)]
		inv.Hard = true
		if _, err := s.pages.Invalidate(context.Background(), inv); err != nil {
			t.Fatal(err)
		}
		if inv.URL == "" {
			purged.Store(v)
		}
		if i%7 == 0 && s.rt.Update(s.rules()...) != nil {
			t.Fatal("no update")
		}
		until := s.instant() + 1 + i%5
		testkit.Within(t, 10*time.Second, "it is answered from the head again", func() bool { return t.Failed() || s.instant() >= until })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d from their heads in %d rounds", s.instant(), rounds)
}

// TestCorpusByInstant: what has been learned of one spelling of a path says
// nothing of another. Each row is answered by whom the chain has it answered, be
// it asked first or when all others have been learned.
func TestCorpusByInstant(t *testing.T) {
	front := func() http.Handler {
		pages, err := cache.New(cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		by := func(name string) http.Handler {
			return pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=600")
				w.Header().Set("Content-Type", "text/plain")
				fmt.Fprintf(w, "%s %s %s", name, r.Host, r.URL.EscapedPath())
			}))
		}
		rt, err := router.New(router.Options{}, router.Rule{Name: "admin", When: router.Admin("/admin"), To: by("origin")}, router.Rule{Name: "shop", To: by("shop")})
		if err != nil {
			t.Fatal(err)
		}
		return rt
	}
	learned, chain := serve(t, front(), edge.Options{NoAccessLog: true}), serve(t, front(), edge.Options{NoAccessLog: true, NoInstant: true})
	rows := readCorpus(t, "../testdata/bypass-corpus.txt", "../testdata/more-corpus.txt")
	rows = slices.DeleteFunc(rows, func(r corpusRow) bool { // for a body somebody would have to wait
		return r.method != "GET" || r.protocol != "HTTP/1.1" || strings.Contains(r.raw(), "Content-Length") || strings.Contains(r.raw(), "Transfer-Encoding")
	})
	for round := range 3 {
		for _, row := range rows {
			raw := strings.Replace(row.raw(), "X-Row: "+strconv.Itoa(row.line)+"\r\n", "", 1)
			raw = strings.Replace(raw, "Connection: close\r\n", "Connection: keep-alive\r\n", 1)
			if got, want := answerTo(t, learned, raw), answerTo(t, chain, raw); got != want {
				t.Fatalf("round %d, row %d, %q: by Instant %q, by the chain %q", round, row.line, raw, got, want)
			}
		}
	}
	if n := metric(learned.Report(), "requests_instant_total"); n < float64(len(rows))/4 {
		t.Errorf("%v of %d rows from their heads", n, 3*len(rows))
	}
}

// answerTo is the status of what raw is answered, and by whom.
func answerTo(tb testing.TB, srv *edge.Server, raw string) string {
	c := testkit.Dial(tb, srv.Addr().String())
	defer c.Close()
	_, _ = io.WriteString(c, raw) // it may be refused before all of it is there
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "nothing"
	}
	defer res.Body.Close()
	if res.ContentLength < 0 {
		return res.Status
	}
	body, _ := io.ReadAll(res.Body)
	return res.Status + " " + string(body)
}
