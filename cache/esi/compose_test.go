package esi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

// A backend answers by path: what is in it is sent, as HTML. A path that begins with
// /esi asks for ESI.
type backend struct {
	pages map[string]string
	own   map[string]http.HandlerFunc

	mu    sync.Mutex
	asked []*http.Request // guarded by mu
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.asked = append(b.asked, r.Clone(context.Background()))
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if strings.HasPrefix(r.URL.Path, "/esi") {
		w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
	}
	if own := b.own[r.URL.Path]; own != nil {
		own(w, r)
		return
	}
	page, ok := b.pages[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
	}
	io.WriteString(w, page)
}

// of returns the requests for a path.
func (b *backend) of(path string) (out []*http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.asked {
		if r.URL.Path == path {
			out = append(out, r)
		}
	}
	return out
}

func newProcessor(tb testing.TB, opts esi.Options) *esi.Processor {
	tb.Helper()
	if opts.Logger == nil {
		opts.Logger = new(testkit.Log).Logger()
	}
	p, err := esi.New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, m := range p.Report().Metrics {
			if m.Name == "memory_used_bytes" && m.Value != 0 {
				tb.Errorf("%v bytes are held at the end", m.Value)
			}
		}
	})
	return p
}

// metric returns a figure of a processor.
func metric(p *esi.Processor, name string) float64 {
	for _, m := range p.Report().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// get asks h for a URL with the fields given, by GET unless a method stands before it.
func get(h http.Handler, url string, fields ...string) *httptest.ResponseRecorder {
	method, rest, ok := strings.Cut(url, " ")
	if !ok {
		method, rest = "GET", url
	}
	if strings.HasPrefix(rest, "/") {
		rest = "http://shop.example" + rest
	}
	r := httptest.NewRequest(method, rest, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const missing = "<!-- esi: not included -->"

func TestCompose(t *testing.T) {
	b := &backend{pages: map[string]string{
		"/menu":      "MENU",
		"/a/menu":    "A",
		"/esi/outer": `[<esi:include src="inner"/>]`,
		"/esi/inner": "(<esi:include src='/menu'/>)",
		"/as-it-is":  `<esi:include src="/menu"/>`,
		"/empty":     "",
		"/esi/empty": "",
	}, own: map[string]http.HandlerFunc{
		"/moved":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/menu", http.StatusFound) },
		"/nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"/part":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) },
		"/coded":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br") },
		"/panics":  func(http.ResponseWriter, *http.Request) { panic("no fragment") },
		"/aborts":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"/hints": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "HINTS")
		},
		"/query": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) },
	}}
	for _, c := range []struct{ name, page, want string }{
		{"nothing", "plain", "plain"},
		{"one", `a<esi:include src="/menu"/>b`, "aMENUb"},
		{"nothing around it", `<esi:include src="/menu"/>`, "MENU"},
		{"several", `a<esi:include src="/menu"/>b<esi:include src="/query?x"/><esi:include src="/menu"/>`, "aMENUb/query?xMENU"},
		{"relative", `<esi:include src="menu"/><esi:include src="../menu"/><esi:include src="?x"/>`, "AMENUAMENU" + missing}, // it is in itself under another target, once
		{"empty", `a<esi:include src="/empty"/><esi:include src="/nothing"/><esi:include src="/esi/empty"/>b`, "ab"},
		{"remove, comment, block", `a<esi:remove>x</esi:remove><esi:comment text="y"/><!--esi b-->c`, "a bc"},
		{"in another that asks", `a<esi:include src="/esi/outer"/>b`, "a[(MENU)]b"},
		{"in another that does not", `<esi:include src="/as-it-is"/>`, `<esi:include src="/menu"/>`},
		{"missing", `a<esi:include src="/none"/>b`, "a" + missing + "b"},
		{"optional", `a<esi:include src="/none" onerror="continue"/>b`, "ab"},
		{"alt", `<esi:include src="/none" alt="/menu"/>`, "MENU"},
		{"alt that is missing", `<esi:include src="/none" alt="/none2"/>`, missing},
		{"a redirect", `<esi:include src="/moved" alt="/menu"/>`, "MENU"},
		{"a part", `<esi:include src="/part" alt="/menu"/>`, "MENU"},
		{"a coding", `<esi:include src="/coded" alt="/menu"/>`, "MENU"},
		{"a panic", `<esi:include src="/panics" alt="/menu"/>`, "MENU"},
		{"an abort", `<esi:include src="/aborts" alt="/menu"/>`, "MENU"},
		{"early hints", `<esi:include src="/hints"/>`, "HINTS"},
		{"to the byte", `<esi:include src="/query?a=%2f%5B%22&amp;b={é}&c=a b#top"/>`, "/query?a=%2f%5B%22&b=%7B%C3%A9%7D&c=a%20b"},
		{"the page's host", `<esi:include src="http://shop.example/menu"/><esi:include src="https://SHOP.example:8443/menu"/><esi:include src="//shop.example./menu"/>`, "MENUMENUMENU"},
		{"another host", `<esi:include src="http://evil.example/menu"/><esi:include src="//evil.example/menu"/>`, missing + missing},
		{"a user", `<esi:include src="http://a@shop.example/menu"/>`, missing},
		{"no host", `<esi:include src="http:///menu"/><esi:include src="http:menu"/>`, missing + missing},
		{"another scheme", `<esi:include src="ftp://shop.example/menu"/><esi:include src="file:///etc/passwd"/><esi:include src="javascript:x"/>`, missing + missing + missing},
		{"no reference", "<esi:include src=\"/menu\r\nX: y\"/><esi:include src=\"/%zz\"/><esi:include src=\"/\x00\"/>", missing + missing + missing},
		{"too long a reference", `<esi:include src="/` + strings.Repeat("x", 8000) + `"/>`, missing},
		{"broken", `a<esi:include src=/menu />b`, "a<esi:include src=/menu />b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.pages["/esi/a/page"] = c.page
			b.own["/esi/a/page"] = nil
			p := newProcessor(t, esi.Options{})
			b.pages["/a/page"] = c.page
			b.own["/a/page"] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Surrogate-Control", `max-age=60, content="ESI/1.0"`)
				io.WriteString(w, c.page)
			}
			w := get(p.Handler(b), "/a/page?q")
			if got := w.Body.String(); got != c.want || w.Code != 200 {
				t.Errorf("got %d %.300q, want %.300q", w.Code, got, c.want)
			}
		})
	}
}

// TestABrokenFragmentThatNobodyHasSeen has another in its place.
func TestABrokenFragmentThatNobodyHasSeen(t *testing.T) {
	for _, half := range []string{"HALF", `<esi:include src="/menu"/>HALF<esi:include src="/hangs"/>`} {
		replaced := make(chan struct{})
		b := &backend{pages: map[string]string{"/esi": `<esi:include src="/first"/><esi:include src="/esi/half" alt="/whole"/>`, "/menu": "M"}, own: map[string]http.HandlerFunc{
			"/first": func(w http.ResponseWriter, _ *http.Request) {
				<-replaced
				io.WriteString(w, "FIRST")
			},
			"/esi/half": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, half)
			},
			"/whole": func(w http.ResponseWriter, _ *http.Request) {
				close(replaced)
				io.WriteString(w, "WHOLE")
			},
			"/hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		}}
		if got := get(newProcessor(t, esi.Options{}).Handler(b), "/esi").Body.String(); got != "FIRSTWHOLE" {
			t.Errorf("%s: got %q", half, got)
		}
	}
}

// TestABrokenFragmentCutsOffThePage, once some of it has been sent.
func TestABrokenFragmentCutsOffThePage(t *testing.T) {
	sent := make(chan struct{})
	b := &backend{pages: map[string]string{"/esi": `a<esi:include src="/breaks" alt="/esi" onerror="continue"/>b`}, own: map[string]http.HandlerFunc{
		"/breaks": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "HALF")
			<-sent
			panic(http.ErrAbortHandler)
		},
	}}
	log := new(testkit.Log)
	h := newProcessor(t, esi.Options{Logger: log.Logger()}).Handler(b)
	w := &notifier{ResponseRecorder: httptest.NewRecorder(), want: "aHALF", got: sent}
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("the page ends with %v", v)
			}
		}()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/esi", nil))
	}()
	if got := w.Body.String(); got != "aHALF" {
		t.Errorf("got %q", got)
	}
	log.Wants(t, "broken off", "/breaks")
}

// A notifier says when it has got what is wanted.
type notifier struct {
	*httptest.ResponseRecorder
	want string
	got  chan struct{}
}

func (n *notifier) Write(b []byte) (int, error) {
	m, err := n.ResponseRecorder.Write(b)
	if n.want != "" && strings.Contains(n.Body.String(), n.want) {
		n.want = ""
		close(n.got)
	}
	return m, err
}

// TestABrokenTemplate cuts off the page too.
func TestABrokenTemplate(t *testing.T) {
	for name, template := range map[string]http.HandlerFunc{
		"short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `a<esi:include src="/esi/x"/>b`)
		},
		"short, without a fragment": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `a<esi:remove>b`)
		},
		"aborted": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `a<esi:include src="/hangs"/>b`)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{own: map[string]http.HandlerFunc{
				"/esi":   template,
				"/hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			}}
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("the page ends with %v", v)
				}
			}()
			get(newProcessor(t, esi.Options{}).Handler(b), "/esi")
		})
	}
}

func TestHeaderOfAComposedPage(t *testing.T) {
	set := map[string]string{
		"Cache-Control": "public, max-age=60", "CDN-Cache-Control": "max-age=600", "Expires": "Thu, 01 Jan 2032 00:00:00 GMT", "Age": "7",
		"Surrogate-Control": `max-age=60, content="ESI/1.0"`, "ETag": `"1"`, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept-Ranges": "bytes",
		"Content-Length": "30", "Repr-Digest": "sha-256=:x:", "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
		"Set-Cookie": "a=b", "Vary": "Accept-Encoding", "X-Own": "y", "Content-Language": "de",
	}
	b := &backend{own: map[string]http.HandlerFunc{
		"/page": func(w http.ResponseWriter, r *http.Request) {
			for name, value := range set {
				w.Header().Set(name, value)
			}
			if r.URL.RawQuery == "no-store" {
				w.Header().Set("Cache-Control", "no-store, must-revalidate")
			}
			if r.Method != "HEAD" {
				io.WriteString(w, `a<esi:include src="/private" />`[:30])
			}
		},
		"/private": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "private, no-store")
			w.Header().Set("Set-Cookie", "b=c")
			io.WriteString(w, "P")
		},
	}}
	h := newProcessor(t, esi.Options{}).Handler(b)
	for _, c := range []struct{ method, query, control string }{
		{"GET", "", "private, no-cache"}, {"HEAD", "", "private, no-cache"}, {"POST", "", "private, no-cache"}, {"GET", "?no-store", "private, no-store"},
	} {
		w := get(h, c.method+" /page"+c.query)
		want := http.Header{
			"Cache-Control": {c.control}, "Content-Type": {"text/html; charset=utf-8"}, "Set-Cookie": {"a=b"},
			"Vary": {"Accept-Encoding"}, "X-Own": {"y"}, "Content-Language": {"de"},
		}
		if got := w.Result().Header; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s%s: got %v\nwant %v", c.method, c.query, got, want)
		}
	}
	if n := len(b.of("/private")); n != 0 {
		t.Errorf("a broken tag was fetched %d times", n)
	}
}

// TestWhatIsNoESI goes through as it is, whatever is in it.
func TestWhatIsNoESI(t *testing.T) {
	const body = `a<esi:include src="/menu"/><!--esi b-->`
	for name, control := range map[string]string{
		"no control": "", "another's": `content="ESI/1.0";other`, "another language": `content="ESI-Inline/1.0"`, "a lifetime": "max-age=60",
		"a longer name": `content="ESI/1.01"`, "no content": `contents="ESI/1.0"`, "in a string": `x="content=ESI/1.0"`,
	} {
		b := &backend{own: map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			if control != "" {
				w.Header().Set("Surrogate-Control", control)
			}
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, body)
		}}}
		w := get(newProcessor(t, esi.Options{}).Handler(b), "/", "Accept-Encoding", "br, gzip", "Range", "bytes=0-", "If-None-Match", `"2"`)
		if w.Body.String() != body || w.Header().Get("ETag") == "" || w.Header().Get("Content-Length") == "" || w.Header().Get("Surrogate-Control") != control {
			t.Errorf("%s: got %q with %v", name, w.Body, w.Header())
		}
		if asked := b.of("/"); len(asked) != 1 || asked[0].Header.Get("Accept-Encoding") != "br, gzip" || asked[0].Header.Get("Range") == "" || asked[0].Header.Get("If-None-Match") == "" {
			t.Errorf("%s: asked for as %v", name, asked)
		}
	}
}

// TestWhoAsksForESI holds which forms of Surrogate-Control do.
func TestWhoAsksForESI(t *testing.T) {
	for _, control := range []string{
		`content="ESI/1.0"`, `content=ESI/1.0`, `Content = "ESI/1.0"`, `max-age=60, content="ESI/1.0"`, `no-store,content="ESI-Inline/1.0 ESI/1.0",max-age=60`,
		`content="ESI/1.0";Foretier-ESI`, `content="x";other, content="ESI/1.0"; foretier-esi`,
	} {
		b := &backend{pages: map[string]string{"/menu": "MENU"}, own: map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Surrogate-Control", control)
			io.WriteString(w, `<esi:include src="/menu"/>`)
		}}}
		if w := get(newProcessor(t, esi.Options{}).Handler(b), "/"); w.Body.String() != "MENU" || w.Header()["Surrogate-Control"] != nil {
			t.Errorf("%s: got %q with %v", control, w.Body, w.Header())
		}
	}
}

// TestPagesThatDoNotSay are composed by a rule.
func TestPagesThatDoNotSay(t *testing.T) {
	b := &backend{pages: map[string]string{"/": `<esi:include src="/menu"/>`, "/menu": `M<esi:include src="/inner"/>`, "/inner": "I"}, own: map[string]http.HandlerFunc{
		"/style.css": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/css")
			io.WriteString(w, `<esi:include src="/menu"/>`)
		},
	}}
	h := newProcessor(t, esi.Options{Also: esi.HTML}).Handler(b)
	if got := get(h, "/").Body.String(); got != "MI" {
		t.Errorf("got %q", got)
	}
	if got := get(h, "/style.css").Body.String(); got != `<esi:include src="/menu"/>` {
		t.Errorf("what is no HTML: got %q", got)
	}
}

// TestWhatAFragmentIsAskedWith: as if the visitor had asked for it, and nothing of what
// speaks of the page's request.
func TestWhatAFragmentIsAskedWith(t *testing.T) {
	b := &backend{pages: map[string]string{
		"/esi":  `<esi:include src="/menu"/><esi:include src="http://static.example/other"/>`,
		"/menu": "M", "/other": "O",
	}}
	h := newProcessor(t, esi.Options{Hosts: []string{"Static.example"}}).Handler(b)
	sent := []string{
		"Cookie", "a=b", "Authorization", "Basic x", "Accept", "text/html", "Accept-Language", "de", "User-Agent", "u", "Content-Currency", "EUR", "Referer", "http://shop.example/",
		"Accept-Encoding", "br", "Range", "bytes=0-9", "If-None-Match", `"1"`, "If-Modified-Since", "x", "If-Match", `"2"`, "Expect", "100-continue", "Content-Type", "text/plain",
		"Content-Length", "3", "Transfer-Encoding", "chunked", "Te", "trailers", "Connection", "close", "Idempotency-Key", "k", "Surrogate-Capability", `evil="ESI/1.0"`,
	}
	r := httptest.NewRequest("POST", "http://shop.example/esi", strings.NewReader("abc"))
	for i := 0; i < len(sent); i += 2 {
		r.Header.Set(sent[i], sent[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Body.String(); got != "MO" {
		t.Fatalf("got %q", got)
	}
	for path, want := range map[string]http.Header{
		"/menu": {
			"Cookie": {"a=b"}, "Authorization": {"Basic x"}, "Accept": {"text/html"}, "Accept-Language": {"de"}, "User-Agent": {"u"}, "Content-Currency": {"EUR"}, "Referer": {"http://shop.example/"},
			"Accept-Encoding": {"identity"}, "Surrogate-Capability": {`Foretier-ESI="ESI/1.0"`},
		},
		"/other": {
			"Accept": {"text/html"}, "Accept-Language": {"de"}, "User-Agent": {"u"}, "Accept-Encoding": {"identity"}, "Surrogate-Capability": {`Foretier-ESI="ESI/1.0"`},
		},
	} {
		asked := b.of(path)
		if len(asked) != 1 || asked[0].Method != "GET" || fmt.Sprint(asked[0].Header) != fmt.Sprint(want) || asked[0].Host != map[string]string{"/menu": "shop.example", "/other": "static.example"}[path] {
			t.Errorf("%s: asked for with %+v\nwant %v", path, asked, want)
		}
	}
	if got := b.of("/esi")[0].Header.Get("Surrogate-Capability"); got != `Foretier-ESI="ESI/1.0"` {
		t.Errorf("the page is asked for with %s", got)
	}
}

// zipped answers in gzip whoever accepts that.
func zipped(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("X-Zipped", "no")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			io.WriteString(w, page)
			return
		}
		w.Header().Set("X-Zipped", "yes")
		w.Header().Set("X-First", "yes")
		if r.URL.Path == "/turns" {
			w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
		}
		w.Header().Set("Content-Encoding", "gzip")
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, page)
		z.Close()
		w.Write(b.Bytes())
	}
}

// TestPagesWithACoding are asked for again, once.
func TestPagesWithACoding(t *testing.T) {
	b := &backend{pages: map[string]string{"/menu": "M"}, own: map[string]http.HandlerFunc{"/esi": zipped(`<esi:include src="/menu"/>`), "/plain": zipped("x"), "/esi/stubborn": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		w.Header().Set("Cache-Control", "public, max-age=60")
		io.WriteString(w, "BR")
	}}}
	p := newProcessor(t, esi.Options{})
	h := p.Handler(b)
	for i, n := range []int{2, 3, 4} {
		w := httptest.NewRecorder()
		w.Header().Set("X-Above", "kept")
		r := httptest.NewRequest("GET", fmt.Sprintf("http://shop.example/esi?%d", i), nil)
		r.Header.Set("Accept-Encoding", "gzip")
		h.ServeHTTP(w, r)
		if w.Body.String() != "M" || w.Header().Get("X-Zipped") != "no" || w.Header()["X-First"] != nil || w.Header()["Content-Encoding"] != nil || w.Header().Get("X-Above") != "kept" {
			t.Errorf("got %q with %v", w.Body, w.Header())
		}
		if got := len(b.of("/esi")); got != n {
			t.Errorf("asked for %d times, want %d", got, n)
		}
	}
	get(h, "/plain", "Accept-Encoding", "gzip")
	if w := get(h, "/plain", "Accept-Encoding", "gzip"); w.Header().Get("X-Zipped") != "yes" || len(b.of("/plain")) != 2 {
		t.Errorf("what is no ESI: got %v", w.Header())
	}
	if w := get(h, "HEAD /esi", "Accept-Encoding", "gzip"); w.Header()["Content-Encoding"] != nil || w.Header().Get("Cache-Control") != "private, no-cache" {
		t.Errorf("HEAD: %v", w.Header())
	}
	if w := get(h, "POST /esi", "Accept-Encoding", "gzip"); w.Body.String() != "M" {
		t.Errorf("POST: %q", w.Body)
	}
	if w := get(h, "/esi/stubborn"); w.Body.String() != "BR" || w.Header().Get("Cache-Control") != "private, no-cache" || w.Header().Get("Content-Encoding") != "br" {
		t.Errorf("one that has a coding all the same: %q with %v", w.Body, w.Header())
	}
	if got := metric(p, "pages_repeated_total"); got != 2 {
		t.Errorf("%v pages were repeated", got)
	}
}

// serverTime is when all pages were made.
var serverTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestPartsAndConditions: there are none of a composed page.
func TestPartsAndConditions(t *testing.T) {
	const page = `0123456789<esi:include src="/menu"/>`
	b := &backend{pages: map[string]string{"/menu": "M"}, own: map[string]http.HandlerFunc{"/esi": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", serverTime, strings.NewReader(page))
	}}}
	for _, fields := range [][]string{
		{"Range", "bytes=0-4"}, {"Range", "bytes=0-4", "If-Range", `"1"`}, {"If-None-Match", `"1"`}, {"If-Modified-Since", serverTime.Format(http.TimeFormat)},
	} {
		h := newProcessor(t, esi.Options{}).Handler(b)
		for range 2 {
			if w := get(h, "/esi", fields...); w.Code != 200 || w.Body.String() != "0123456789M" || w.Header()["Content-Range"] != nil || w.Header()["Etag"] != nil {
				t.Errorf("%q: got %d %q with %v", fields, w.Code, w.Body, w.Header())
			}
		}
	}
	h := newProcessor(t, esi.Options{}).Handler(b)
	if w := get(h, "/esi", "Range", "bytes=100-200"); w.Code != 200 && w.Code != 416 {
		t.Errorf("got %d", w.Code)
	}
}

// TestAnErrorPageIsComposedToo: shops' error pages have menus.
func TestAnErrorPageIsComposedToo(t *testing.T) {
	b := &backend{pages: map[string]string{"/menu": "M"}, own: map[string]http.HandlerFunc{"/esi": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `<esi:include src="/menu"/>`)
	}}}
	if w := get(newProcessor(t, esi.Options{}).Handler(b), "/esi"); w.Code != 404 || w.Body.String() != "M" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

// TestTheLogSaysWhatIsMissing: in the page's one line.
func TestTheLogSaysWhatIsMissing(t *testing.T) {
	log := new(testkit.Log)
	b := &backend{pages: map[string]string{"/esi": `<esi:include src="/none"/><esi:include src="http://evil.example/"/><esi:include x>`}}
	get(newProcessor(t, esi.Options{Logger: log.Logger()}).Handler(b), "/esi")
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "status=200") || !strings.Contains(s, "missing: 2") {
		t.Errorf("the log has %s", s)
	}
}

// TestTwoProcessors: the upper one composes.
func TestTwoProcessors(t *testing.T) {
	b := &backend{pages: map[string]string{"/esi": `<esi:include src="/esi/menu"/>`, "/esi/menu": "M"}}
	upper, lower := newProcessor(t, esi.Options{Name: "upper"}), newProcessor(t, esi.Options{Name: "lower"})
	if got := get(upper.Handler(lower.Handler(b)), "/esi").Body.String(); got != "M" {
		t.Errorf("got %q", got)
	}
	if up, low := metric(upper, "pages_composed_total"), metric(lower, "pages_composed_total"); up != 1 || low != 0 {
		t.Errorf("the upper has composed %v, the lower %v", up, low)
	}
}

// TestOneAfterAnother: a handler that is asked since another had nothing composes too.
func TestOneAfterAnother(t *testing.T) {
	none := &backend{}
	b := &backend{pages: map[string]string{"/esi": `<esi:include src="/menu"/>`, "/menu": "M"}}
	p := newProcessor(t, esi.Options{})
	first, then := p.Handler(none), p.Handler(b)
	ctx, rec := transit.With(context.Background())
	r := httptest.NewRequest("GET", "http://shop.example/esi", nil).WithContext(ctx)
	first.ServeHTTP(httptest.NewRecorder(), r)
	w := httptest.NewRecorder()
	then.ServeHTTP(w, r)
	if w.Body.String() != "M" || rec.Composes != "" {
		t.Errorf("got %q, and %q is left", w.Body, rec.Composes)
	}
}

// A compressor above compresses what is composed, whenever it says so.
func TestBelowACompressor(t *testing.T) {
	b := &backend{pages: map[string]string{"/esi": `<esi:include src="/menu"/>`, "/menu": "M"}}
	h := newProcessor(t, esi.Options{}).Handler(b)
	above := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		h.ServeHTTP(zipper{w, z}, r)
		_ = z.Close() // a recorder takes everything
	})
	for range 2 {
		w := get(above, "/esi", "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(w.Body)
		if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("got %v, %v", w.Header(), err)
		}
		if got, err := io.ReadAll(z); string(got) != "M" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if n := len(b.of("/esi")); n != 2 {
		t.Errorf("the page was asked for %d times", n)
	}
}

type zipper struct {
	http.ResponseWriter
	z io.Writer
}

func (z zipper) Write(b []byte) (int, error) { return z.z.Write(b) }
