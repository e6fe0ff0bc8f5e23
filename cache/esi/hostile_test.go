package esi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/internal/testkit"
)

// TestBounds holds what a page may have.
func TestBounds(t *testing.T) {
	deep := &backend{pages: map[string]string{"/esi/7": "7"}}
	for i := range 7 {
		deep.pages[fmt.Sprint("/esi/", i)] = fmt.Sprintf(`%d<esi:include src="/esi/%d"/>`, i, i+1)
	}
	for depth, want := range map[int]string{0: "012345" + missing, 1: "01" + missing, 7: "01234567"} {
		if got := get(newProcessor(t, esi.Options{MaxDepth: depth}).Handler(deep), "/esi/0").Body.String(); got != want {
			t.Errorf("depth %d: got %q, want %q", depth, got, want)
		}
	}

	many := &backend{pages: map[string]string{"/x": "x", "/esi": strings.Repeat(`<esi:include src="/x"/>`, 10_000)}}
	for limit, want := range map[int]int{0: 64, 3: 3} {
		got := get(newProcessor(t, esi.Options{MaxFragments: limit}).Handler(many), "/esi").Body.String()
		if got != strings.Repeat("x", want)+strings.Repeat(missing, 10_000-want) {
			t.Errorf("of 10,000 fragments %d are there, want %d", strings.Count(got, "x"), want)
		}
	}
	if n := len(many.of("/x")); n != 67 {
		t.Errorf("%d were asked for", n)
	}

	// Each has eight: 8^5 in all, were it not for the bound.
	wide := &backend{pages: map[string]string{}}
	for i := range 6 {
		wide.pages[fmt.Sprint("/esi/", i)] = strings.Repeat(fmt.Sprintf(`<esi:include src="/esi/%d"/>`, i+1), 8)
	}
	p := newProcessor(t, esi.Options{})
	get(p.Handler(wide), "/esi/0")
	if n := len(wide.asked); n > 65 {
		t.Errorf("a tree of fragments has bought %d requests", n)
	}

	for _, c := range []struct{ size, limit int64 }{{1000, 999}, {20 << 20, 0}} {
		large := &backend{pages: map[string]string{"/esi": `a<esi:include src="/large"/>b`}, own: map[string]http.HandlerFunc{"/large": func(w http.ResponseWriter, _ *http.Request) {
			for n := int64(0); n < c.size; n += 1000 {
				if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}}}
		w := httptest.NewRecorder()
		func() {
			defer func() { _ = recover() }() // cut off, or the fragment is missing
			newProcessor(t, esi.Options{MaxBytes: c.limit}).Handler(large).ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/esi", nil))
		}()
		if got := int64(w.Body.Len()); got > max(c.limit, 16<<20)+100 || strings.HasSuffix(w.Body.String(), "xb") {
			t.Errorf("of a fragment of %d bytes %d were sent, with more than Options.MaxBytes %d", c.size, got, c.limit)
		}
	}
}

// TestLoops end, however they are written.
func TestLoops(t *testing.T) {
	for name, pages := range map[string]map[string]string{
		"itself":          {"/esi": `a<esi:include src="/esi"/>`},
		"by another name": {"/esi": `a<esi:include src="http://SHOP.example:80/x/../esi"/>`},
		"over another":    {"/esi": `a<esi:include src="/esi/b"/>`, "/esi/b": `b<esi:include src="/esi"/>`},
		"with a query":    {"/esi": `a<esi:include src="?a"/>`},
		"as alt":          {"/esi": `a<esi:include src="/none" alt="/esi"/>`},
		"twice":           {"/esi": `a<esi:include src="/esi/b"/><esi:include src="/esi/b"/>`, "/esi/b": `<esi:include src="/esi"/><esi:include src="/esi/b"/>`},
	} {
		b := &backend{pages: pages}
		log := new(testkit.Log)
		w := get(newProcessor(t, esi.Options{Logger: log.Logger()}).Handler(b), "/esi")
		if !strings.HasPrefix(w.Body.String(), "a") || !strings.Contains(w.Body.String(), missing) || len(b.asked) > 8 {
			t.Errorf("%s: %q, after %d requests", name, w.Body, len(b.asked))
		}
		log.Wants(t, "cause")
	}
	// Loops that grow: each is another page.
	b := &backend{}
	b.own = map[string]http.HandlerFunc{"/esi": func(w http.ResponseWriter, r *http.Request) {
		for i := range 20 {
			fmt.Fprintf(w, `<esi:include src="/esi?%s%d"/>`, r.URL.RawQuery, i)
		}
	}}
	get(newProcessor(t, esi.Options{}).Handler(b), "/esi")
	if len(b.asked) > 65 {
		t.Errorf("a loop that grows has bought %d requests", len(b.asked))
	}
}

// TestMadESI: whatever a backend sends, the page ends, in time that is linear in it,
// and nothing is held.
func TestMadESI(t *testing.T) {
	const size = 1 << 20
	for name, page := range map[string]string{
		"an attribute without end":  `<esi:include src="` + strings.Repeat("x", size),
		"a long attribute":          `<esi:include src="/` + strings.Repeat("x", size) + `"/>`,
		"a long alt":                `<esi:include src="/x" alt="/` + strings.Repeat("x", size) + `"/>`,
		"many attributes":           `<esi:include ` + strings.Repeat(`a="b" `, size/6) + `src="/x"/>`,
		"tags that do not end":      strings.Repeat(`<esi:include src="`, size/18),
		"beginnings":                strings.Repeat("<esi", size/4),
		"marks":                     strings.Repeat("<!--es", size/6),
		"blocks that do not end":    strings.Repeat("<!--esi ", size/8),
		"dashes":                    "<!--esi " + strings.Repeat("-", size),
		"dashes in a comment":       "<!--" + strings.Repeat("-", size),
		"brackets":                  "<![CDATA[" + strings.Repeat("]", size),
		"removes that do not end":   strings.Repeat("<esi:remove>", size/12),
		"ends of removes":           "<esi:remove>" + strings.Repeat("</esi:remove", size/12),
		"quotes":                    strings.Repeat(`<esi:include a='"' b="'" `, size/24),
		"nested includes":           strings.Repeat(`<esi:include src="/x">`, size/22) + strings.Repeat("</esi:include>", size/14),
		"binary":                    strings.Repeat("\x00\xff<esi:\x00\x1b", size/9),
		"entities":                  `<esi:include src="/` + strings.Repeat("&amp;", 3000) + `"/>`,
		"dots":                      `<esi:include src="/` + strings.Repeat("../", 4000) + `"/>`,
		"an escape that is none":    `<esi:include src="/%"/><esi:include src="/%2"/><esi:include src="/%zz"/>`,
		"another request in a line": "<esi:include src=\"/x HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /admin\"/>",
		"the same, escaped":         `<esi:include src="/x%0d%0aHost:%20evil.example"/>`,
		"a backslash":               `<esi:include src="/\evil.example/x"/><esi:include src="\\evil.example/x"/>`,
		"a host that is none":       `<esi:include src="//shop.example@evil.example/"/><esi:include src="//shop.example%2eevil.example/"/><esi:include src="//[::1/"/><esi:include src="//shop.example:x/"/>`,
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{pages: map[string]string{"/x": "x"}, own: map[string]http.HandlerFunc{"/esi": func(w http.ResponseWriter, _ *http.Request) {
				for rest := page; rest != ""; { // as it comes from a socket
					n := min(len(rest), 4<<10)
					if _, err := io.WriteString(w, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}}}
			began := time.Now()
			w := get(newProcessor(t, esi.Options{}).Handler(b), "/esi")
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if w.Body.Len() > 2*len(page)+10_000 {
				t.Errorf("%d bytes have become %d", len(page), w.Body.Len())
			}
			for _, r := range b.asked {
				if r.Host != "shop.example" || r.Method != "GET" || strings.ContainsAny(r.RequestURI, " \r\n\\") {
					t.Errorf("a backend was asked %s %q of %q", r.Method, r.RequestURI, r.Host)
				}
			}
			if len(b.asked) > 65 {
				t.Errorf("it has bought %d requests", len(b.asked))
			}
		})
	}
}

// FuzzPages: whatever three pages that may include one another are, the page ends,
// within its bounds, and nothing of them is held then.
func FuzzPages(f *testing.F) {
	f.Add(`a<esi:include src="/esi/b"/>`, `b<esi:include src="/esi/c" alt="/esi"/>`, `c<esi:include src="/none" onerror="continue"/>`)
	f.Add(`<esi:include src="/esi?1"/><!--esi <esi:include src="/esi/b"/>-->`, `<esi:remove><esi:include src="/esi"/>`, "x")
	f.Add(`<esi:include src="?"/>`, "", "")
	f.Add(strings.Repeat(`<esi:include src="/esi/b"/>`, 20), strings.Repeat(`<esi:include src="/esi/c"/>`, 20), strings.Repeat("c", 100_000))
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if len(a)+len(b)+len(c) > 200_000 {
			return
		}
		back := &backend{pages: map[string]string{"/esi": a, "/esi/b": b, "/esi/c": c}}
		w := get(newProcessor(t, esi.Options{Logger: new(testkit.Log).Logger()}).Handler(back), "/esi")
		if w.Code != 200 || len(back.asked) > 1+2*64 {
			t.Errorf("status %d after %d requests", w.Code, len(back.asked))
		}
		for _, r := range back.asked {
			if r.Host != "shop.example" || strings.ContainsAny(r.RequestURI, " \r\n") {
				t.Errorf("asked %q of %q", r.RequestURI, r.Host)
			}
		}
	})
}
