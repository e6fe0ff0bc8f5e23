package router_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/foretier/foretier/router"
)

// A corpus makes conditions and requests of few words, so that they meet often.
type corpus struct{ *rand.Rand }

func newCorpus() corpus { return corpus{rand.New(rand.NewPCG(1, 2))} }

func pick[T any](c corpus, of ...T) T { return of[c.IntN(len(of))] }

// some returns one to three of a list.
func some[T any](c corpus, of ...T) []T {
	c.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of[:1+c.IntN(min(3, len(of)))]
}

var (
	corpusPaths = []string{"/a", "/a/*", "/a/{x}", "/a/{x}/b", "/{x}/b", "/a/b/*", "/*", "/{n:[0-9]+}", "/a/{n:[0-9]+}/b", "/{x}.png", "/zz", "/a/zz/zz", "/m/"}
	corpusNets  = []string{"10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.192.0.0/10", "10.1.2.3/32", "2001:db8::/32", "2001:db8::/33", "::/0", "0.0.0.0/0"}
)

func (c corpus) matcher(depth int) router.Matcher {
	parts := func() (ms []router.Matcher) {
		for range 1 + c.IntN(3) {
			ms = append(ms, c.matcher(depth-1))
		}
		return ms
	}
	n := 13
	if depth > 0 {
		n = 19
	}
	switch c.IntN(n) {
	case 0:
		return router.Method(some(c, "GET", "POST", "HEAD", "ZZ")...)
	case 1:
		return router.Host(some(c, "shop.example", "*.example", "*.shop.example", "zz.shop.example", "[::1]")...)
	case 2:
		return router.Header("X-V", some(c, "1", "2", "zz")...)
	case 3:
		return pick(c, router.Header("X-V"), router.Cookie("v"))
	case 4:
		return router.Cookie("v", some(c, "a", "b", `"a"`)...)
	case 5:
		var nets []netip.Prefix
		for _, n := range some(c, corpusNets...) {
			nets = append(nets, netip.MustParsePrefix(n))
		}
		return router.Client(nets...)
	case 6:
		return pick(c, router.Admin("/a"), router.Admin("/a", "/m").Except("/a/b", "/m/x/*"))
	case 7:
		return router.Query("q", some(c, "1", "2", "zz", "a b")...)
	case 8:
		return pick(c, router.Query("q"), router.Query("p"), router.Scheme("http"), router.Scheme("https"))
	case 9:
		return router.HeaderContains("X-V", some(c, "1", "12", "z", "2", "zz")...)
	case 10:
		return pick(c, router.HeaderRegexp("X-V", "^1"), router.HeaderRegexp("X-W", "."))
	case 11:
		return router.PathSuffix(some(c, "b", "/b", ".png", "x.png", "/", "zz")...)
	case 13, 14:
		return router.All(parts()...)
	case 15, 16:
		return router.Any(parts()...)
	case 17:
		return router.Not(c.matcher(depth - 1))
	case 18:
		return pick[router.Matcher](c, router.Test("long", isLong), moved)
	}
	return router.Path(some(c, corpusPaths...)...)
}

var moved = func() router.Matcher {
	m, err := router.ReadRedirects(strings.NewReader("/a/b,/x\nshop.example/a,/x\n/a/b/?q=1,/x\n/tür,/x\n"))
	if err != nil {
		panic(err)
	}
	return m
}()

func isLong(r *http.Request) bool { return len(r.RequestURI) > 8 }

var corpusTargets = []string{"/", "/a", "/a/b", "/a/", "/a/zz/zz", "/a/1/b", "/a/x/b", "/x/b", "/7", "/x.png", "/zz", "/m/", "/m/x/y", "/A", "/%61/b",
	"//a", "/x/../a/b", "/a;x/b", "/index.php/a", "/%20a", "/a/%2e%2e/m", "/a%2Fb", "/../x", "/a%00", "/t%C3%BCr", "/long/long/long", "/a/b/?q=1", "/a/x.png", "/zz.png", "/b?q=2&q=1", "/a/b?%71=a+b&p", "/x/y/b?q", "/a/zz?q=3"}

func (c corpus) request() *http.Request {
	r := request(pick(c, "GET", "GET", "POST", "HEAD", "PUT", "ZZ"), pick(c, corpusTargets...))
	r.Host = pick(c, "shop.example", "shop.example:80", "a.shop.example", "zz.shop.example", "b.example", "[::1]:8080", "other", "")
	r.RemoteAddr = pick(c, "10.0.0.1:1", "10.130.0.1:1", "10.200.0.1:1", "10.1.2.3:1", "[2001:db8::1]:1", "[2001:db8:8000::1]:1", "[2001:db9::1]:1", "192.0.2.1:1", "unknown")
	for range c.IntN(3) {
		r.Header.Add("X-V", pick(c, "1", "2", "3", "zz", "12", "21", "31x"))
	}
	if c.IntN(4) == 0 {
		r.TLS = new(tls.ConnectionState)
	}
	if c.IntN(4) == 0 {
		r.Header.Set("X-W", "x")
	}
	var cookies []string
	for range c.IntN(3) {
		cookies = append(cookies, pick(c, "v=a", "v=b", `v="a"`, "v=c", "w=a"))
	}
	if cookies != nil {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return r
}

// rules are a table that New takes, of all terms that a rule can have.
func (c corpus) rules(to func(name string) http.Handler) []router.Rule {
	for {
		var rules []router.Rule
		for i := range 1 + c.IntN(6) {
			rule := router.Rule{Name: fmt.Sprint("r", i), When: c.matcher(2)}
			for c.IntN(4) == 0 {
				rule.Use = append(rule.Use, c.turning())
			}
			switch rule.To = to(rule.Name); c.IntN(6) {
			case 0:
				rule.Allow = []netip.Prefix{netip.MustParsePrefix(pick(c, corpusNets...))}
			case 1:
				rule.MaxBody = 10
			case 2:
				rule.Limit = router.Limit{Rate: 0.001, Burst: 1 + c.IntN(3)}
			case 3:
				rule.Limit.InFlight = 1
			}
			rules = append(rules, rule)
		}
		rules = append(rules, router.Rule{Name: "rest", To: to("rest")})
		if _, err := router.New(router.Options{}, rules...); err == nil {
			return rules
		}
	}
}

// turning is one that rules can have in Use.
func (c corpus) turning() func(http.Handler) http.Handler {
	switch c.IntN(3) {
	case 0:
		return router.StripPrefix(pick(c, "/a", "/m", "/a/b"))
	case 1:
		return router.AddPrefix(pick(c, "/a", "/m", "/x"))
	}
	return pick(c, router.Rewrite("/a/{x}", "/m/{x}"), router.Rewrite("/a/*", "/*"), router.Rewrite("/x/*", "/a/*"), router.Rewrite("/{x}/b", "/a/{x}.png"), router.Rewrite("/{x}", "/{x}/b"))
}

// handler is one of those that rules can have. At the bottom, those of bottom answer.
func (c corpus) handler(name string, depth int, bottom func(name string) http.Handler) http.Handler {
	if depth == 0 {
		return bottom(name)
	}
	below := func(more string) http.Handler { return c.handler(name+more, depth-1, bottom) }
	switch c.IntN(9) {
	case 0:
		return router.Fallback(below(".first"), below(".then"))
	case 1:
		s, err := router.NewSplit("try", router.Arm{Name: "a", Weight: 1, To: below(".a")}, router.Arm{Name: "b", Weight: 2, To: below(".b")})
		if err != nil {
			panic(err)
		}
		return s
	case 2:
		rt, err := router.New(router.Options{Name: name, Logger: slog.New(slog.DiscardHandler)}, c.rules(func(inner string) http.Handler { return below("." + inner) })...)
		if err != nil {
			panic(err)
		}
		return rt
	case 3:
		return pick(c, router.Maintenance(time.Minute), router.NotAuthority("web0"), router.Redirect(308, "https://shop.example{path}{query}"))
	}
	return bottom(name)
}
