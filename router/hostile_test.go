package router

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
	for name, unit := range map[string]string{"segments": "/a;b", "dots": "/a/.", "escapes": "/%252561;", "scripts": "/.php.php", "long": "a%2561"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/"+strings.Repeat(unit, 7900/len(unit)), nil)
			for b.Loop() {
				rd := readRequest(r)
				v := &view{r: r, rd: &rd, path: rd.canonical}
				rt.agree(v, rt.pick(v))
			}
		})
	}
}
