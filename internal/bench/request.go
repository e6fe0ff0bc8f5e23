//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A request is what a workload asks for.
type request struct {
	method, path string
	header       []string // lines without their ends; Host only if not the server's address
	body         int      // bytes
}

func get(path string, header ...string) request { return request{"GET", path, header, 0} }

// raw is the request as it goes over the wire.
func (r request) raw(addr string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.path)
	if len(r.header) == 0 || !strings.HasPrefix(r.header[0], "Host:") {
		fmt.Fprintf(&b, "Host: %s\r\n", addr)
	}
	for _, line := range r.header {
		b.WriteString(line + "\r\n")
	}
	if r.body > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.body)
	}
	b.WriteString("\r\n" + strings.Repeat("x", r.body))
	return []byte(b.String())
}

// browser is the head of a browser that asks for a page: eleven fields, and
// among them the cookies of an analytics script.
var browser = []string{
	"Host: shop.example",
	"Connection: keep-alive",
	"Upgrade-Insecure-Requests: 1",
	"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
	"Sec-Fetch-Site: same-origin",
	"Sec-Fetch-Mode: navigate",
	"Sec-Fetch-Dest: document",
	"Accept-Encoding: gzip, deflate, br, zstd",
	"Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
	"Cookie: _ga=GA1.2.1234567890.1700000000; _gid=GA1.2.987654321.1700000000",
}

// forwarded is what a load balancer in front adds.
var forwarded = []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"}

// with returns lines with some more; the cookies, if one is "Cookie: ...", are joined.
func with(lines []string, more ...string) []string {
	out := append([]string(nil), lines...)
	for _, line := range more {
		if cookies, ok := strings.CutPrefix(line, "Cookie: "); ok {
			out[len(out)-1] += "; " + cookies // browser's last line
			continue
		}
		out = append(out, line)
	}
	return out
}

// An asking is one request over and over, or several in an order.
type asking struct {
	requests []request
	order    []int32
}

func one(r request) asking { return asking{requests: []request{r}} }

// draws is how long an order is before it begins again.
const draws = 1 << 17

// zipf asks for n pages as visitors do: few are asked for often.
func zipf(n int, page func(i int) request) asking {
	var a asking
	for i := range n {
		a.requests = append(a.requests, page(i))
	}
	rnd := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(n-1))
	for range draws {
		a.order = append(a.order, int32(rnd.Uint64()))
	}
	return a
}

// visitors of a shop: 80% of what they ask for are pages that may be stored,
// 15% a cart that may not, 3% logins, which begin a session, 2% an admin's pages.
func visitors() asking {
	const pages = 1000
	a := zipf(pages, func(i int) request { return get(fmt.Sprintf("/c8192/page-%d", i), browser...) })
	session := with(browser, "Cookie: session=0123456789abcdef; "+pin)
	a.requests = append(a.requests,
		get("/n16384/cart", session...),
		get("/n2048/login", browser...),
		get("/admin/orders", session...))
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range a.order {
		switch x := rnd.Float64(); {
		case x < .02:
			a.order[i] = pages + 2
		case x < .05:
			a.order[i] = pages + 1
		case x < .20:
			a.order[i] = pages
		}
	}
	return a
}

// pin stands for the cookie, if any, by which a contender has a visitor come
// back to the same backend.
const pin = "{pin}"

// pinnedBy replaces pin in what is asked.
func (a asking) pinnedBy(cookie string) asking {
	out := asking{order: a.order}
	for _, r := range a.requests {
		header := append([]string(nil), r.header...)
		for i, line := range header {
			header[i] = strings.TrimSuffix(strings.Replace(line, pin, cookie, 1), "; ")
		}
		r.header = header
		out.requests = append(out.requests, r)
	}
	return out
}
