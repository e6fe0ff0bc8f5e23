package router

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRunsPickTheFirst: a table finds the rule that asking one after the other finds, and
// asks no function more often.
func TestRunsPickTheFirst(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string { return []string{"a", "b", "ab", "shop", "cart", "x1"}[rnd.IntN(6)] }
	pattern := func() string {
		var b strings.Builder
		for range 1 + rnd.IntN(3) {
			b.WriteByte('/')
			b.WriteString([]string{word(), word(), word(), "{id}", "{n:[0-9]+}", word() + "-{id}"}[rnd.IntN(6)])
			if rnd.IntN(8) == 0 {
				b.WriteByte('/')
				break
			}
		}
		return strings.ReplaceAll(b.String(), "//", "/") + []string{"", "", "*", "/*"}[rnd.IntN(4)]
	}
	long, asked, others, found := 0, 0, 0, make(map[int]int)
	for range 300 {
		want := 0 // how often the function is asked
		at := func(r *http.Request) bool { want++; return r.Header["Yes"] != nil }
		var tab table
		for i := range 3 + rnd.IntN(60) {
			var texts []string
			for range 1 + rnd.IntN(3) {
				texts = append(texts, pattern())
			}
			when := Path(texts...)
			switch rnd.IntN(20) {
			case 0:
				when = All(when, Test("yes", at))
			case 1:
				when = All(Method("GET"), when)
			case 2:
				when = Any(when, Host("a.example"))
			case 3:
				when = Not(when)
			}
			c, err := compileRule(Rule{Name: fmt.Sprint(i), When: when, To: http.NotFoundHandler()})
			if err != nil {
				continue // a pattern that never matches
			}
			tab = append(tab, c)
		}
		rest, err := compileRule(Rule{Name: "rest", To: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		tab = append(tab, rest)
		plain := append(table(nil), tab...)
		for i := range plain {
			c := *plain[i]
			plain[i] = &c
		}
		tab.findRuns()
		for _, c := range tab {
			if c.run != nil {
				long++
			}
		}
		for range 50 {
			target := ""
			for range rnd.IntN(4) {
				target += "/" + []string{word(), word(), "7", word() + "-q", "é", "%2561", "..", "ab%2Fa", ";v=1"}[rnd.IntN(9)]
			}
			if target == "" || rnd.IntN(5) == 0 {
				target += "/"
			}
			r := httptest.NewRequest("GET", "http://b.example"+target, nil)
			if rnd.IntN(2) == 0 {
				r.Header["Yes"] = []string{"1"}
			}
			rule := func(tab table) (i, n int, agree bool) {
				want = 0
				rd := readRequest(r)
				v := &view{r: r, rd: &rd, path: rd.Canonical}
				i = tab.pick(v)
				return i, want, tab.agree(v, i)
			}
			i, n, same := rule(plain)
			j, m, agree := rule(tab)
			if i != j || m != n || same != agree {
				t.Fatalf("%s falls under rule %d, %s, and asks %d times: want %d, %s, and %d", r.URL.Path, j, tab[j].words, m, i, tab[i].words, n)
			}
			asked += n
			if !same {
				others++
			}
			found[i]++
		}
	}
	if long < 100 || asked < 50 || others < 50 || len(found) < 20 {
		t.Errorf("%d runs, %d times asked, %d requests of several readings, %d rules found: no test", long, asked, others, len(found))
	}
}

// BenchmarkPick picks the last of so many rules.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{5, 10, 50, 500} {
		var rules []Rule
		for i := range n {
			rules = append(rules, Rule{Name: fmt.Sprint(i), When: Path(fmt.Sprintf("/n1024/section-%d/*", i)), To: http.NotFoundHandler()})
		}
		tab := compileForTest(b, append(rules, Rule{Name: "rest", To: http.NotFoundHandler()})...)
		r := httptest.NewRequest("GET", fmt.Sprintf("/n1024/section-%d/page", n-1), nil)
		rd := readRequest(r)
		v := &view{r: r, rd: &rd, path: rd.Canonical}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if tab.pick(v) != n-1 {
					b.Fatal("another rule")
				}
			}
		})
	}
}
