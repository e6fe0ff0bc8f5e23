package balancer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
)

// from makes a request one of the nth client.
func from(n int) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:9999", n/250, n%250+1) }
}

// One visitor who asks backend after backend, by pins of their own, for what
// fails everywhere takes none of them out; nor do all who ask for one page. And
// what several prove by answers of 500 takes out one of six.
func TestOneVisitorCondemnsNobody(t *testing.T) {
	addr := func(s string) func(int) func(*http.Request) {
		return func(int) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = s } }
	}
	cases := map[string]struct {
		status int
		from   func(int) func(*http.Request)
		path   func(int) string
		out    int
	}{
		"one client, one URL":              {500, addr("198.51.100.1:9"), func(int) string { return "/broken" }, 0},
		"one client, many URLs":            {500, addr("198.51.100.1:9"), func(i int) string { return fmt.Sprint("/broken/", i) }, 0},
		"one client, many URLs, 504":       {504, addr("198.51.100.1:9"), func(i int) string { return fmt.Sprint("/broken/", i) }, 0},
		"an IPv6 network":                  {504, func(n int) func(*http.Request) { return addr(fmt.Sprintf("[2001:db8::%x]:9", n+1))(n) }, func(i int) string { return fmt.Sprint("/broken/", i) }, 0},
		"one with two addresses":           {503, func(n int) func(*http.Request) { return from(n % 2) }, func(i int) string { return fmt.Sprint("/broken/", i) }, 0},
		"many clients, one URL":            {503, from, func(int) string { return "/broken" }, 0},
		"several of each, 500":             {500, from, func(i int) string { return fmt.Sprint("/broken/", i) }, 1},
		"several of each, 503":             {503, from, func(i int) string { return fmt.Sprint("/broken/", i) }, 3},
		"several of each, 503 in patience": {-503, from, func(i int) string { return fmt.Sprint("/broken/", i) }, 1},
		"clients that nobody knows":        {503, addr("@"), func(i int) string { return fmt.Sprint("/broken/", i) }, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			page := func(w http.ResponseWriter, r *http.Request) {
				status := c.status
				if status < 0 {
					status = -status
					w.Header().Set("Retry-After", "1")
				}
				if strings.HasPrefix(r.URL.Path, "/broken") {
					w.WriteHeader(status)
				}
			}
			p := newPool(t, here(page, page, page, page, page, page), Options{Affinity: cookie{}})
			for i := range 200 { // the others' visitors are content, as many at each
				get(p, "GET", fmt.Sprint("/", i), nil, from(i), header("Cookie", "at="+string("abcdef"[i%6])))
			}
			for _, name := range []string{"a", "b", "c"} {
				for i := range 40 {
					get(p, "POST", c.path(i), nil, c.from(i), header("Cookie", "at="+name))
				}
			}
			out := 0
			for _, s := range p.Backends() {
				if s.State == health.Degraded {
					out++
				}
			}
			if out != c.out {
				t.Errorf("%d of 6 are out, want %d", out, c.out)
			}
		})
	}
}

// Nor does one visitor take their load away, by what fails or by whatever else is
// said to that visitor alone; three do.
func TestOneVisitorTakesNobodysLoad(t *testing.T) {
	cases := map[string]struct {
		status  int
		clients int
		stays   bool // each of the three gets its part of 600 requests
	}{
		"one, 500":                    {500, 1, true},
		"one, 503":                    {503, 1, true},
		"one who is to ask less":      {429, 1, true},
		"one, 503 with Retry-After":   {-503, 1, true},
		"one whose answers break off": {0, 1, true},
		"two":                         {500, 2, true},
		"three":                       {500, 3, false},
		"three, asked for patience":   {429, 3, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				page := func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Millisecond)
					if !strings.HasPrefix(r.URL.Path, "/broken") {
						return
					}
					switch c.status {
					case 0:
						panic(http.ErrAbortHandler)
					case 429, -503:
						w.Header().Set("Retry-After", "30")
						w.WriteHeader(max(c.status, -c.status))
					default:
						w.WriteHeader(c.status)
					}
				}
				p := newPool(t, here(page, page, page, page, page, page), Options{Affinity: cookie{}, Outlier: health.Outlier{Consecutive: -1, MinSuccess: -1}})
				for i := range 200 {
					get(p, "GET", fmt.Sprint("/", i), nil, from(i))
				}
				for i := range 40 {
					for _, name := range []string{"a", "b", "c"} {
						get(p, "POST", fmt.Sprint("/broken/", i), nil, from(i%c.clients), header("Cookie", "at="+name))
					}
				}
				before := p.Backends()
				for i := range 600 {
					get(p, "GET", fmt.Sprint("/", i), nil, from(i))
				}
				for i, s := range p.Backends()[:3] {
					if n := s.Requests - before[i].Requests; n > 60 != c.stays {
						t.Errorf("%s gets %d of 600", s.Name, n)
					}
				}
			})
		})
	}
}
