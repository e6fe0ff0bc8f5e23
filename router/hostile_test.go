package router

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

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

// parents is a target of nearly 8,000 bytes with 16 readings, in which last
// follows every second slash behind a segment that is long.
func parents(last string) string {
	return "//h/" + strings.Repeat("a", 4000) + strings.Repeat("/x/"+last, 780) + ";%252561"
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
