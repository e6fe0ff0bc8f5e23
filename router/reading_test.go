package router

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// A plain path, which nearly all are, costs nothing.
func TestPlainPathAllocatesNothing(t *testing.T) {
	r := &http.Request{RequestURI: "/product/blue-shoe?size=42", URL: &url.URL{Path: "/product/blue-shoe", RawQuery: "size=42"}}
	if n := testing.AllocsPerRun(100, func() { readRequest(r) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// simpleServers are how real servers come from a raw path to the one that they
// serve, each written without a look at this package. They return false for
// what that server refuses.
var simpleServers = map[string]func(raw string) (string, bool){
	"Apache, then PHP": func(raw string) (string, bool) {
		if strings.Contains(strings.ToLower(raw), "%2f") {
			return "", false // AllowEncodedSlashes Off
		}
		p, err := url.PathUnescape(raw)
		return clean(p), err == nil && !strings.Contains(p, "\x00")
	},
	"nginx": func(raw string) (string, bool) {
		p, err := url.PathUnescape(raw)
		return clean(p), err == nil
	},
	"nginx before nginx": func(raw string) (string, bool) {
		p, err := url.PathUnescape(raw)
		if err != nil {
			return "", false
		}
		p, err = url.PathUnescape(clean(p))
		return clean(p), err == nil
	},
	"PHP application on REQUEST_URI": func(raw string) (string, bool) {
		p, err := url.PathUnescape("/" + strings.TrimLeft(raw, "/"))
		return p, err == nil
	},
	"Tomcat": func(raw string) (string, bool) {
		segments := strings.Split(raw, "/")
		for i, s := range segments {
			segments[i], _, _ = strings.Cut(s, ";")
		}
		p, err := url.PathUnescape(strings.Join(segments, "/"))
		return clean(p), err == nil
	},
	"url.Parse": func(raw string) (string, bool) {
		u, err := url.Parse(raw)
		if err != nil {
			return "", false
		}
		return u.Path, true
	},
}

// clean is path.Clean's idea of a path, but above the root it stays there.
func clean(p string) string {
	var out []string
	for _, s := range strings.Split(p, "/") {
		switch {
		case s == "" || s == ".":
		case s == "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

// isAdmin reports whether an application would serve /admin for path, as its
// first segment or as a script's path-info.
func isAdmin(path string) bool {
	for start := true; ; {
		segment, rest, more := strings.Cut(strings.TrimLeft(path, "/"), "/")
		if start && strings.EqualFold(segment, "admin") {
			return true
		}
		if !more {
			return false
		}
		start, path = strings.HasSuffix(strings.ToLower(segment), ".php"), rest
	}
}

func FuzzAdmin(f *testing.F) {
	for _, name := range []string{"testdata/bypass-corpus.txt", "testdata/more-corpus.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if target, _, ok := strings.Cut(line, "\t"); ok {
				f.Add(target)
			}
		}
	}
	admin := Admin("/admin")
	rt := compileForTest(f, Rule{Name: "admin", When: admin, To: http.NotFoundHandler()},
		Rule{Name: "media", When: Path("/media/*", "/m/{id}"), To: http.NotFoundHandler()},
		Rule{Name: "shop", To: http.NotFoundHandler()})
	f.Fuzz(func(t *testing.T, target string) {
		raw, refusal := targetPath(target)
		if refusal != "" {
			return
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // the standard server answers 400
		}
		r := &http.Request{Method: "GET", Host: "shop.example", RequestURI: target, URL: u, Header: http.Header{}}
		got := admin.Match(r)
		for name, server := range simpleServers {
			if path, ok := server(raw); ok && isAdmin(path) && !got {
				t.Errorf("%s takes %q for %q", name, raw, path)
			}
		}

		// What goes on as the canonical path is read in one way only, and
		// falls under the rule that was picked for it.
		rd := readRequest(r)
		if rd.Refusal != "" {
			if !got {
				t.Errorf("%q has no honest reading (%s) and is not admin", target, rd.Refusal)
			}
			return
		}
		v := &view{r: r, rd: &rd, path: rd.Canonical}
		i := rt.pick(v)
		if rt.agree(v, i) || rt[i].Name == "admin" {
			return
		}
		out := *r
		out.URL = rewritten(u, rd.Canonical)
		again := readURL(&out)
		if again.Refusal != "" {
			t.Fatalf("%q goes on as %q, which %s", target, out.URL.EscapedPath(), again.Refusal)
		}
		v = &view{r: &out, rd: &again, path: again.Canonical}
		if j := rt.pick(v); j != i || !rt.agree(v, j) {
			t.Errorf("%q goes on as %q under rule %s, where others read rule %s", target, out.URL.EscapedPath(), rt[i].Name, rt[j].Name)
		}
	})
}

func compileForTest(tb testing.TB, rules ...Rule) table {
	tb.Helper()
	t, err := compileTable(rules)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// BenchmarkHostile is what a client can make the router do with one target of
// 8,000 bytes and a table of 200 rules.
func BenchmarkHostile(b *testing.B) {
	var rules []Rule
	rules = append(rules, Rule{Name: "admin", When: Admin("/admin", "/setup"), To: http.NotFoundHandler()})
	for i := range 198 {
		rules = append(rules, Rule{Name: fmt.Sprint(i), When: Path(fmt.Sprintf("/%d/{id}/x", i)), To: http.NotFoundHandler()})
	}
	rt := compileForTest(b, append(rules, Rule{Name: "shop", To: http.NotFoundHandler()})...)
	for name, unit := range map[string]string{"segments": "/a;b", "dots": "/a/.", "escapes": "/%252561;", "scripts": "/.php.php", "long": "a%2561", "blanks": "/%20.php"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/"+strings.Repeat(unit, 7900/len(unit)), nil)
			for b.Loop() {
				rd := readRequest(r)
				v := &view{r: r, rd: &rd, path: rd.Canonical}
				rt.agree(v, rt.pick(v))
			}
		})
	}
	b.Run("long parents", func(b *testing.B) {
		r := httptest.NewRequest("GET", "http://shop.example"+parents(".."), nil)
		r.RequestURI = parents("..")
		r.URL.Path = r.RequestURI
		for b.Loop() {
			rd := readRequest(r)
			v := &view{r: r, rd: &rd, path: rd.Canonical}
			rt.agree(v, rt.pick(v))
		}
	})
}

// parents is a target of nearly 4,000 bytes with 16 readings, as long as one with so
// many may be, in which last follows every second slash behind a segment that is long.
func parents(last string) string {
	return "//h/" + strings.Repeat("a", 2000) + strings.Repeat("/x/"+last, 380) + ";%252561"
}

// What a long segment and many dot segments cost is what other segments cost:
// the time grows with the length of the path and not with its square.
func TestReadingsAreLinear(t *testing.T) {
	admin := Admin("/admin", "/setup")
	cost := func(last string) time.Duration {
		least := time.Hour
		for range 20 {
			begun := time.Now()
			rd := read(parents(last))
			if admin.matchReadings(&rd.Readings) {
				t.Fatal("it is admin")
			}
			least = min(least, time.Since(begun))
		}
		return least
	}
	if dots, words := cost(".."), cost("y."); dots > 6*words {
		t.Errorf("dot segments cost %v, others %v", dots, words)
	}
	// Blanks are gone through once for all prefixes.
	blanks := func(prefixes int) time.Duration {
		list := make([]string, prefixes)
		for i := range list {
			list[i] = fmt.Sprintf("/admin%d", i)
		}
		m, path, least := Admin(list...), "/"+strings.Repeat(" ", 8000)+"x", time.Hour
		for range 20 {
			begun := time.Now()
			m.under(path)
			least = min(least, time.Since(begun))
		}
		return least
	}
	if one, many := blanks(1), blanks(100); many > 10*one {
		t.Errorf("8,000 blanks cost %v for one prefix, %v for 100", one, many)
	}
	// However it is written, a path has few readings.
	for _, unit := range []string{"/a;%252561", "/./%2e;/", "//;%2525", "/..;/x%2f"} {
		if rd := read("//h/" + strings.Repeat(unit, 700)); len(rd.Others) > 32 {
			t.Errorf("%s: %d readings", unit, len(rd.Others))
		}
	}
}
