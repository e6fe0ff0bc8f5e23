package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/router"
)

func TestRedirects(t *testing.T) {
	moved, err := router.ReadRedirects(strings.NewReader("\ufefffrom,to\r\n" + `# of the old shop
/old.html,/new
/t%C3%BCr,/door,308
/größe und maß,/größe?q=a b
"/with,comma", https://other.example:8443/x#y
www.shop.example/sale,https://shop.example/offers,302
/sale,/all-offers
/index.php?cl=details&anid=42,/product/42
/index.php,/
https://b.example/index.php?cl=details&anid=42,/b/42
/gone,/here?from=gone
/home,https://shop.example
`))
	if err != nil {
		t.Fatal(err)
	}
	if moved.Len() != 11 {
		t.Errorf("%d of them", moved.Len())
	}
	table, err := router.New(router.Options{},
		router.Rule{Name: "moved", When: moved, To: moved},
		router.Rule{Name: "shop", To: answer(200, "shop")})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"http://a.example/old.html":                            "301 /new",
		"http://a.example/old.html?utm_source=mail":            "301 /new?utm_source=mail",
		"http://a.example/old.html?":                           "301 /new",
		"http://a.example/OLD.html":                            "200",
		"http://a.example/old.html/":                           "200",
		"http://a.example/x/../old%2Ehtml":                     "301 /new",
		"http://a.example/t%C3%BCr":                            "308 /door",
		"http://a.example/gr%C3%B6%C3%9Fe%20und%20ma%C3%9F":    "301 /gr%C3%B6%C3%9Fe?q=a%20b",
		"http://a.example/gr%C3%B6%C3%9Fe%20und%20ma%C3%9F?id": "301 /gr%C3%B6%C3%9Fe?q=a%20b",
		"http://a.example/with,comma":                          "301 https://other.example:8443/x#y",
		"http://a.example/sale":                                "301 /all-offers",
		"http://WWW.shop.example:8080/sale":                    "302 https://shop.example/offers",
		"http://a.example/index.php?cl=details&anid=42":        "301 /product/42",
		"http://b.example/index.php?cl=details&anid=42":        "301 /b/42",
		"http://a.example/index.php?cl=details&anid=43":        "301 /?cl=details&anid=43",
		"http://a.example/index.php":                           "301 /",
		"http://a.example/gone?x=1":                            "301 /here?from=gone",
		"http://a.example/home?x=1":                            "301 https://shop.example/?x=1",
		"http://a.example/":                                    "200",
	} {
		r := httptest.NewRequest("GET", url, nil)
		w := httptest.NewRecorder()
		table.ServeHTTP(w, r)
		if got := strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Header().Get("Location"))); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
		if moved.Match(r) != strings.HasPrefix(want, "3") {
			t.Errorf("%s: it matches: %t", url, moved.Match(r))
		}
		d := table.Explain(httptest.NewRequest("GET", url, nil))
		if status, to, ok := strings.Cut(want, " "); ok && (d.Next[0].Verdict != status || d.Next[0].Why != "to "+to) {
			t.Errorf("%s: explained: %+v", url, d)
		}
	}
}

func TestRedirectsThatAreNone(t *testing.T) {
	chain := new(strings.Builder)
	for i := range 13 {
		fmt.Fprintf(chain, "/%d,/%d\n", i, i+1)
	}
	for name, c := range map[string]struct{ table, want string }{
		"one column":       {"/a,/b\n/c\n", "line 2: 1 columns: want /from,/to"},
		"four columns":     {"/a,/b,301,x\n", "line 1: 4 columns"},
		"semicolons":       {"/a;/b;301\n", "with commas, not semicolons"},
		"a status":         {"/a,/b,200\n", `line 1: "200" is no status of a redirect: want 301`},
		"a word":           {"/a,/b,permanent\n", `"permanent" is no status`},
		"no path":          {"a,/b\n", `"a" is no path: want one such as /old`},
		"nothing":          {",/b\n", `"" is no path`},
		"a fragment":       {"/a#x,/b\n", "is no path"},
		"a port":           {"shop.example:80/a,/b\n", "want a host without port"},
		"no host":          {"http:///a,/b\n/a,/c\n", `is in line 1, too`},
		"a bad host":       {"sh op/a,/b\n", "want a host without port"},
		"no honest path":   {"/..%2f..%2fa,/b\n", "the path of"},
		"parameters":       {"/a;x=1,/b\n", "want it without ;"},
		"twice":            {"# one\n/a,/b\n/%61,/c\n", `line 3: "/%61" is in line 2, too`},
		"a quote":          {"/a,/b\n\"/c,/d\n", "line 2: "},
		"a quote inside":   {"/a\"x,/d\n", `line 1: bare " in non-quoted`},
		"no target":        {"/a,\n", `"" is neither a path nor a URL`},
		"a relative one":   {"/a,b\n", `"b" is neither`},
		"a script":         {"/a,javascript:alert(1)\n", "is neither"},
		"another host":     {"/a,//evil.example/\n", "is neither"},
		"a backslash":      {"/a,/\\evil.example\n", "is neither"},
		"a user":           {"/a,https://shop.example@evil.example/\n", "is neither"},
		"ftp":              {"/a,ftp://a/b\n", "is neither"},
		"a control":        {"/a,/b\x01\n", "is neither"},
		"a line in quotes": {"/a,\"/b\nSet-Cookie: x\"\n", "is neither"},
		"to itself":        {"/a,/a\n", "line 1: it leads back to where it began, by line 1"},
		"to itself, query": {"/a,/a?x=1\n", "leads back"},
		"by a host":        {"/a,https://shop.example/a\n", "leads back"},
		"by two":           {"/a,/b\n/c,/d\n/b,/a\n", "line 1: it leads back to where it began, by line 3"},
		"on one host":      {"/a,/b\nshop.example/b,/a\n", "line 2: it leads back to where it began, by line 1"},
		"far":              {chain.String(), "line 1: it leads through more than 10 others"},
		"into a circle":    {"/x,/a\n/y,/z\n/a,/b\n/b,/c\n/c,/b\n", "leads"},
	} {
		moved, err := router.ReadRedirects(strings.NewReader(c.table))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "router: line ") {
			t.Errorf("%s: got %v, %v, want %s", name, moved, err, c.want)
		}
	}
	for _, table := range []string{"", "from,to\n", "# none\n\n", "/a,/b\n/b,/c\nb.example/d,/a\nc.example/e,/d?x=1,\n"} {
		if _, err := router.ReadRedirects(strings.NewReader(table)); err != nil {
			t.Errorf("%q: %v", table, err)
		}
	}
}

// A table that is redirected by keeps the claims, and each of two tables is one of its own.
func TestRedirectsAreProvedAndTakenUp(t *testing.T) {
	read := func(table string) *router.Redirects {
		moved, err := router.ReadRedirects(strings.NewReader(table))
		if err != nil {
			t.Fatal(err)
		}
		return moved
	}
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin")
	rules := func(first, second *router.Redirects) []router.Rule {
		return []router.Rule{{Name: "moved", When: first, To: first}, {Name: "moved, too", When: second, To: second},
			{Name: "admin", When: admin, To: origin}, {Name: "shop", To: apps}}
	}
	front, err := router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}}, rules(read("/a,/b\n"), read("/a,/c\n"))...)
	if err != nil {
		t.Fatal(err)
	}
	to := func() string {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", "/a", nil))
		return w.Header().Get("Location")
	}
	if got := to(); got != "/b" {
		t.Errorf("to %s", got)
	}
	if err := front.Update(rules(read("/a,/d\n"), read("/a,/c\n"))...); err != nil {
		t.Fatal(err)
	}
	if got := to(); got != "/d" {
		t.Errorf("to %s, after an update", got)
	}
	same := read("/a,/b\n")
	if err := front.Update(rules(same, read("/a,/b\n"))...); err == nil || !strings.Contains(err.Error(), "never reached") {
		t.Errorf("two of the same: %v", err)
	}
	if got := to(); got != "/d" {
		t.Errorf("to %s, after one that was refused", got)
	}
}

// manyRedirects are n lines, of which every tenth has a query.
func manyRedirects(n int) string {
	var b strings.Builder
	for i := range n {
		if i%10 == 0 {
			fmt.Fprintf(&b, "/index.php?cl=details&anid=%08d,/product/%d\n", i, i)
		} else {
			fmt.Fprintf(&b, "/Produkte/Kategorie-%d/artikel-%08d.html,/product/%d,308\n", i%100, i, i)
		}
	}
	return b.String()
}

func TestManyRedirects(t *testing.T) {
	began := time.Now()
	moved, err := router.ReadRedirects(strings.NewReader(manyRedirects(100_000)))
	if err != nil {
		t.Fatal(err)
	}
	// A quarter of a second, and some for a busy machine.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("100,000 took %v", took)
	}
	if moved.Len() != 100_000 {
		t.Errorf("%d of them", moved.Len())
	}
}

func BenchmarkReadRedirects(b *testing.B) {
	table := manyRedirects(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := router.ReadRedirects(strings.NewReader(table)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedirects asks what is not redirected: what a shop's every request costs.
func BenchmarkRedirects(b *testing.B) {
	for _, n := range []int{0, 100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			moved, err := router.ReadRedirects(strings.NewReader(manyRedirects(n)))
			if err != nil {
				b.Fatal(err)
			}
			rules := []router.Rule{{Name: "moved", When: moved, To: moved}, {Name: "shop", To: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
			if n == 0 {
				rules = rules[1:]
			}
			front, err := router.New(router.Options{}, rules...)
			if err != nil {
				b.Fatal(err)
			}
			r, w := httptest.NewRequest("GET", "/product/a-shirt-of-some-kind?size=3", nil), httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				front.ServeHTTP(w, r)
			}
		})
	}
}

// What has moved is taken up while the router serves.
func ExampleReadRedirects() {
	moved, err := router.ReadRedirects(strings.NewReader("/old.html,/new\n/sale,https://offers.example/,302\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := router.New(router.Options{},
		router.Rule{Name: "moved", When: moved, To: moved},
		router.Rule{Name: "shop", To: http.NotFoundHandler()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range []string{"/old.html?utm_source=mail", "/sale"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Println(target, "->", w.Code, w.Header().Get("Location"))
	}
	_, err = router.ReadRedirects(strings.NewReader("/a,/b\n/b,/a\n"))
	fmt.Println(err)
	// Output:
	// /old.html?utm_source=mail -> 301 /new?utm_source=mail
	// /sale -> 302 https://offers.example/
	// router: line 1: it leads back to where it began, by line 2: want a target that is not redirected
}
