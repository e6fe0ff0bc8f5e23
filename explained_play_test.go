package foretier_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// plays is how many tiers are made up.
const plays = 200

// A play is a tier, which its seed makes up, and what happens to it.
type play struct {
	seed  uint64
	steps []step
}

// A step is what happens, and then a request.
type step struct {
	change  string // in words: see tier.change
	from    string // the request's peer
	request string // as it comes; <web1> stands for the cookie that binds to web1
}

func (p play) String() string {
	var b strings.Builder
	for _, s := range p.steps {
		if s.change != "" {
			fmt.Fprintf(&b, "  %s\n", s.change)
		}
		fmt.Fprintf(&b, "  from %s: %q\n", s.from, s.request)
	}
	return b.String()
}

// calm reports whether nothing in p goes by chance, so that two tiers that play it
// are alike: no policy draws, and nobody is ejected, which is for a time that is
// drawn, too.
func (p play) calm() bool { return p.seed%2 == 0 }

// A maker makes up things.
type maker struct{ *rand.Rand }

func oneOf[T any](m maker, of ...T) T { return of[m.IntN(len(of))] }

// someOf returns one to three of a list.
func someOf[T any](m maker, of ...T) []T {
	of = slices.Clone(of)
	m.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of[:1+m.IntN(min(3, len(of)))]
}

func newPlay(seed uint64) play {
	m := maker{rand.New(rand.NewPCG(seed, 1))}
	p := play{seed: seed}
	often, occupied := someOf(m, targets...), "" // so that what is stored, or being fetched, is asked for
	for n := range 25 {
		s := step{from: oneOf(m, peers...)}
		if m.IntN(3) == 0 {
			s.change = m.change(n, p.calm())
		}
		if words := strings.Fields(s.change); len(words) == 3 { // to occupy
			occupied = words[2]
		}
		target := oneOf(m, often...)
		switch m.IntN(8) {
		case 0, 1:
			target = oneOf(m, targets...)
		case 2:
			target = cmp.Or(occupied, target)
		}
		s.request = m.request(target)
		p.steps = append(p.steps, s)
	}
	return p
}

func (m maker) change(n int, calm bool) string {
	server := oneOf(m, "web1", "web2", "web3")
	if !calm && m.IntN(3) == 0 {
		return oneOf(m, "sick ", "dying ", "well ", "eject ") + server
	}
	switch m.IntN(8) {
	case 0, 1:
		return "sleep " + oneOf(m, "1s", "5s", "15s", "70s", "200s")
	case 2:
		return "purge " + oneOf(m, "all", "tag", "hard")
	case 3:
		return oneOf(m, "drain ", "maintenance ", "ready ", "ready ") + server
	case 4:
		return oneOf(m, "down ", "up ", "up ", "down web1,web2,", "down web1,web2,web3,", "up web1,web2,") + server
	case 5:
		return "release"
	}
	// Each holds another page: of two who wait for one, nobody knows who is first.
	return "occupy " + oneOf(m, peers...) + oneOf(m, " /hold/", " /stream/") + fmt.Sprint(n)
}

var (
	servers = []string{"web0", "web1", "web2", "web3"}
	peers   = []string{"192.0.2.1:1", "192.0.2.2:1", "198.51.100.7:1", "10.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"}
	trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

	targets = []string{
		"/", "/page/1", "/page/1", "/page/2", "/page/2?utm_source=a", "/page/2?b=1", "/page/2?b=2", "/page/1?c=1&b=3", "/vary/1", "/swr/1", "/swr/1", "/public/1", "/private/1", "/private/1",
		"/login", "/cart", "/media/1", "/media/gone", "/gone", "/hold/1", "/hold/4", "/stream/1", "/old/1", "/base/secret",
		"/page/1", "/page/2", "/swr/1", "/swr/1", "/public/1", "/vary/1", "/media/1", "/hold/1", "/hold/2", "/stream/1", "/private/1", "/cart",
		"/admin", "/admin/x", "/%61dmin", "//admin", "/x/../admin", "/admin;x", "/index.php/admin", "/ADMIN", "/%2561dmin", "/page/../media/1", "/media/%2e%2e/page/1",
		"/page/%2F1", "/page/1;v=2", "/../x", "/a%00", "/t%C3%BCr", "/page/1#x", "http://shop.example/page/1", "*", "/secret", "/" + strings.Repeat("long", 60),
	}
	hosts  = []string{"shop.example:80", "SHOP.example", "www.shop.example", "other.example", "[::1]:8080", "a b", "..", ""}
	fields = []string{
		"Cookie: <web1>", "Cookie: <web2>", "Cookie: <web3>; a=b", "Cookie: route=forged", "Cookie: arm=b", "Cookie: arm=a; sid=1", "Cookie: sid=1", "Cookie: _ga=1", "Cookie: group=b", "Cookie: PHPSESSID=7",
		"Authorization: Basic x", "Range: bytes=0-1", "Range: bytes=0-1,3-4", `If-None-Match: "a"`, `If-Match: "a"`, `If-Range: "a"`,
		"Accept-Language: de", "Accept-Language: en", "Accept-Encoding: gzip", "Accept-Encoding: gzip, br;q=0", "Accept: text/event-stream", "X-V: 1", "X-V: 2", "X-New: 1",
		"Cache-Control: no-cache", "Cache-Control: only-if-cached", "Cache-Control: only-if-cached", "Cache-Control: max-stale", "Cache-Control: no-store", "Pragma: no-cache",
		"X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 198.51.100.7, 10.0.0.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: other.example", "X-Original-URL: /admin", "Forwarded: for=192.0.2.9",
		"X-Route-Trace: 1", "X-Request-Id: 1", "Via: 1.1 apps", "Connection: X-V", "Connection: Upgrade\r\nUpgrade: websocket", "Connection: close", "Max-Forwards: 0", "X-Refuse: 1",
		"Origin: https://other.example", "Sec-Fetch-Site: cross-site",
	}
)

// request makes up a request for target.
func (m maker) request(target string) string {
	method, version, host := "GET", "HTTP/1.1", "shop.example"
	if m.IntN(4) == 0 {
		method = oneOf(m, "HEAD", "HEAD", "POST", "POST", "POST", "OPTIONS", "PURGE", "TRACE")
	}
	if m.IntN(8) == 0 {
		version = "HTTP/1.0"
	}
	if m.IntN(4) == 0 {
		host = oneOf(m, hosts...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", method, target, version, host)
	for range m.IntN(4) {
		b.WriteString(oneOf(m, fields...) + "\r\n")
	}
	if body := oneOf(m, "", "0123456789", "0123456789abc"); method == "POST" {
		b.WriteString(oneOf(m, "", "", "Sec-Fetch-Site: cross-site\r\n"))
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return b.String()
	}
	return b.String() + "\r\n"
}

// smaller returns a play that goes wrong as p does, of fewer and shorter steps, and
// what is wrong with it.
func (p play) smaller(t *testing.T, wrong string) (play, string) {
	fails := func(p play) bool {
		now := p.wrong(t, nil)
		wrong = cmp.Or(now, wrong)
		return now != ""
	}
	for again := true; again; {
		again = false
		for i := len(p.steps) - 1; i >= 0; i-- {
			if p.steps[i].change != "" {
				less := p
				less.steps = slices.Clone(p.steps)
				less.steps[i].change = ""
				if fails(less) {
					p, again = less, true
				}
			}
			less := p
			less.steps = slices.Delete(slices.Clone(p.steps), i, i+1)
			if fails(less) {
				p, again = less, true
				continue
			}
			lines := strings.SplitAfter(p.steps[i].request, "\r\n")
			for n := len(lines) - 3; n > 0; n-- { // neither the first line nor the end of the head
				less := p
				less.steps = slices.Clone(p.steps)
				less.steps[i].request = strings.Join(slices.Delete(slices.Clone(lines), n, n+1), "")
				if fails(less) {
					p, again = less, true
					lines = slices.Delete(lines, n, n+1)
				}
			}
		}
	}
	return p, wrong
}
