package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/target"
)

// as returns a request for a target as a server would read it.
func as(t *testing.T, method, host, line string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "http://"+host+"/", nil)
	u, err := url.ParseRequestURI(line)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.RequestURI = u, line
	return r
}

// The key is what is forwarded, to the byte: what differs there is two pages,
// and what is fetched is what was asked for.
func TestKeyIsTheTargetAsForwarded(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		_, _ = io.WriteString(w, target.Of(r.URL).String()+" "+r.RequestURI)
	}}
	_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
	for range 2 {
		for line, want := range map[string]string{
			"/a%2Fb{c}":                  "/a%2Fb%7Bc%7D /a%2Fb{c}",
			"/a/b{c}":                    "/a/b%7Bc%7D /a/b{c}",
			"/a%2Fb{c}?utm_x=1&q=100%&;": "/a%2Fb%7Bc%7D?q=100%&; /a%2Fb%7Bc%7D?q=100%&;",
			"/a%2Fb{c}?gclid=1":          "/a%2Fb%7Bc%7D /a%2Fb{c}", // which is stored
			"/caf%c3%a9":                 "/caf%c3%a9 /caf%c3%a9",
			"/caf%C3%A9":                 "/caf%C3%A9 /caf%C3%A9",
			"/a?q=100%&page=2":           "/a?q=100%&page=2 /a?q=100%&page=2",
			"/a?a=1;b=2":                 "/a?a=1;b=2 /a?a=1;b=2",
		} {
			if line == "/a%2Fb{c}?gclid=1" {
				do(h, as(t, "GET", "a.example", "/a%2Fb{c}"))
			}
			if w := do(h, as(t, "GET", "a.example", line)); w.Body.String() != want {
				t.Errorf("%s: got %q, want %q", line, w.Body, want)
			}
		}
	}
	if n := b.calls.Load(); n != 7 {
		t.Errorf("%d fetches", n)
	}
}

// An invalidation names a URI and not its bytes (RFC 3986, section 6.2.2).
func TestInvalidationMatchesEverySpelling(t *testing.T) {
	office := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	spellings := [][]string{
		{"/caf%c3%a9", "/caf%C3%A9", "/caf\xc3\xa9", "/c%61f%c3%A9"},
		{"/~a?q=~", "/%7Ea?q=%7e", "/%7ea?%71=~"},
		{"/it's(a)!*", "/it%27s%28a%29%21%2a", "/it%27s(a)%21*"},
		{"/a{b}?c={d}&[]", "/a%7Bb%7d?c=%7bd%7D&%5B%5d", "/a%7bb}?c={d%7d&[%5D"},
		{"/a/b", "/a/./b", "/a/x/../b", "/a/%2e/b", "/%2E./a/b"},
		{"/a%2Fb", "/a%2fb", "/%61%2fb"},
		{"/p?q=100%&r=1;2", "/p?%71=100%&r=1;2", "/p?q=100%25&%72=1;2"},
	}
	for i, same := range spellings {
		for _, named := range same {
			for how, invalidate := range map[string]func(c *Cache, h http.Handler) int{
				"PURGE": func(c *Cache, _ http.Handler) int {
					purge, err := c.PurgeHandler(office)
					if err != nil {
						t.Fatal(err)
					}
					r := as(t, "PURGE", "shop.example", named)
					w := do(purge, r)
					var at, n int
					if _, err := fmt.Sscanf(w.Body.String(), "200 purged at %d, responses: %d", &at, &n); err != nil || w.Code != 200 {
						t.Errorf("PURGE: %d %s", w.Code, w.Body)
					}
					return n
				},
				"URL": func(c *Cache, _ http.Handler) int {
					u, err := url.ParseRequestURI(named)
					if err != nil {
						t.Fatal(err)
					}
					done, err := c.Invalidate(t.Context(), Invalidation{URL: "http://SHOP.example:80" + target.Of(u).String(), Hard: true})
					if err != nil {
						t.Error(err)
					}
					return done.Responses
				},
				"POST": func(c *Cache, h http.Handler) int {
					before := c.store.Stats().Count
					do(h, as(t, "POST", "shop.example", named))
					return before - c.store.Stats().Count
				},
				"Location": func(c *Cache, h http.Handler) int {
					before := c.store.Stats().Count
					do(h, as(t, "POST", "shop.example", "/form/%2F{x}?"+url.QueryEscape(named)))
					return before - c.store.Stats().Count
				},
				"Location, whole": func(c *Cache, h http.Handler) int {
					before := c.store.Stats().Count
					do(h, as(t, "POST", "shop.example", "/form?"+url.QueryEscape("http://shop.example:80"+named)))
					return before - c.store.Stats().Count
				},
			} {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
					if r.Method == "POST" && strings.HasPrefix(r.URL.Path, "/form") {
						location, err := url.QueryUnescape(r.URL.RawQuery)
						if err != nil {
							t.Error(err)
						}
						w.Header().Set("Location", location)
					}
					fmt.Fprint(w, n)
				}}
				c, h := open(t, Options{}, b)
				for _, list := range spellings {
					for _, line := range list {
						do(h, as(t, "GET", "shop.example", line))
					}
				}
				stored := c.store.Stats().Count
				var want int // raw bytes and their escapes are forwarded, and stored, alike
				for _, e := range keys(c) {
					if target.Normal(e) == target.Normal(same[0]) {
						want++
					}
				}
				if got := invalidate(c, h); got != want || want < 2 {
					t.Errorf("%d, %s of %s: %d of %d removed, want %d", i, how, named, got, stored, want)
				}
			}
		}
	}
}

// keys returns the targets of what is stored for shop.example.
func keys(c *Cache) (out []string) {
	c.store.Each(func(e *memory.Entry) bool {
		out = append(out, strings.TrimPrefix(e.URL, "shop.example"))
		return false
	})
	return out
}

// What names something that is stored removes it, and says how much.
func TestInvalidationsSayHowManyTheyHit(t *testing.T) {
	urls := [][2]string{ // host, target
		{"shop.example", "/"}, {"shop.example", "/a(b)/x"}, {"shop.example", "/a%28b%29?q"}, {"shop.example", "/a(bc)"},
		{"shop.example", "/caf%c3%a9/y"}, {"shop.example", "/caf%C3%A9"}, {"shop.example:8080", "/a%2Fb"},
		{"shop.example:443", "/a/b"}, {"SHOP.example.", "/a"}, {"www.shop.example", "/a"}, {"[2001:db8:0:0::1]:8080", "/%25"},
	}
	for name, c := range map[string]struct {
		inv  Invalidation
		want int
	}{
		"everything by its root":    {Invalidation{PathPrefix: "/"}, 11},
		"all of a host by its root": {Invalidation{Host: "shop.example", PathPrefix: "/"}, 9},
		"a host":                    {Invalidation{Host: "Shop.Example"}, 9},
		"a host with a final dot":   {Invalidation{Host: "shop.example."}, 9},
		"a host and its port":       {Invalidation{Host: "shop.example:80"}, 8},
		"the other scheme's":        {Invalidation{Host: "shop.example:443"}, 8},
		"another port":              {Invalidation{Host: "shop.example:8080"}, 1},
		"a port where nothing is":   {Invalidation{Host: "shop.example:81"}, 0},
		"an address":                {Invalidation{Host: "2001:db8::1"}, 1},
		"an address in brackets":    {Invalidation{Host: "[2001:DB8::1]"}, 1},
		"an address and a port":     {Invalidation{Host: "[2001:db8::1]:8080", PathPrefix: "/100%"}, 0},
		"a percent sign":            {Invalidation{Host: "[2001:db8::1]:8080", PathPrefix: "/%"}, 1},
		"parentheses":               {Invalidation{PathPrefix: "/a(b)"}, 2},
		"escaped parentheses":       {Invalidation{PathPrefix: "/a%28b%29/"}, 2},
		"a path in UTF-8":           {Invalidation{PathPrefix: "/café"}, 2},
		"an escaped path":           {Invalidation{PathPrefix: "/caf%c3%A9"}, 2},
		"an escaped slash":          {Invalidation{PathPrefix: "/a%2fb"}, 1},
		"a slash":                   {Invalidation{PathPrefix: "/a"}, 3},
		"by dots":                   {Invalidation{PathPrefix: "/x/../a"}, 3},
		"a URL":                     {Invalidation{URL: "https://shop.example/a(b)?q"}, 1},
		"a URL and its port":        {Invalidation{URL: "http://shop.example:80/a"}, 1},
		"a URL of another port":     {Invalidation{URL: "http://shop.example:8080/a%2fb"}, 1},
		"a URL without a path":      {Invalidation{URL: "http://shop.example"}, 1},
		"tags":                      {Invalidation{Tags: []string{"t", "u", "none"}}, 11},
		"no tags of theirs":         {Invalidation{Tags: []string{"none"}}, 0},
		"all":                       {Invalidation{All: true}, 11},
	} {
		for _, hard := range []bool{true, false} {
			b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Cache-Tag": {"t,u"}}}
			cache, h := open(t, Options{}, b)
			for _, u := range urls {
				do(h, as(t, "GET", u[0], u[1]))
			}
			c.inv.Hard = hard
			done, err := cache.Invalidate(t.Context(), c.inv, c.inv)
			if err != nil || done.Responses != c.want || done.Position != 2 {
				t.Errorf("%s, hard %t: %+v, %v, want %d", name, hard, done, err, c.want)
			}
			if left := cache.store.Stats().Count; hard && left != len(urls)-c.want {
				t.Errorf("%s: %d are left", name, left)
			}
		}
	}
}

// A purge in one spelling beats a fetch that is running in another.
func TestPurgeInAnotherSpellingBeatsRunningFetch(t *testing.T) {
	for _, inv := range []Invalidation{{URL: "http://a.example/%7Ex", Hard: true}, {PathPrefix: "/%7ex", Hard: true}} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				fmt.Fprintf(w, "answer %d", n) // as of now
				time.Sleep(2 * time.Second)
			}}
			c, h := open(t, Options{}, b)
			go get(h, "http://a.example/~x")
			time.Sleep(time.Second)
			if done, err := c.Invalidate(t.Context(), inv); err != nil || done.Responses != 0 {
				t.Errorf("%+v %v", done, err)
			}
			want(t, get(h, "http://a.example/~x"), 200, "answer 2")
			time.Sleep(3 * time.Second)
			want(t, get(h, "http://a.example/~x"), 200, "answer 2")
		})
	}
}
