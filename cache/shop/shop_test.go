package shop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/cache"
)

// A tier is a cache with a shop's rules in front of a shop.
type tier struct {
	t     *testing.T
	front http.Handler
	purge http.Handler
	mu    sync.Mutex
	calls map[string]int // of the backend, by URL; guarded by mu
}

// open returns a tier in front of a shop. What answers is told how often its URL has
// been asked for.
func open(t *testing.T, opts cache.Options, answer func(w http.ResponseWriter, r *http.Request, n int)) *tier {
	t.Helper()
	x := &tier{t: t, calls: make(map[string]int)}
	pages, err := cache.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pages.Close() })
	x.front = pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		url := r.Host + r.URL.String()
		x.mu.Lock()
		x.calls[url]++
		n := x.calls[url]
		x.mu.Unlock()
		answer(w, r, n)
	}))
	if x.purge, err = pages.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err != nil {
		t.Fatal(err)
	}
	return x
}

// ask asks for a URL, with fields "Name: value".
func (x *tier) ask(url string, fields ...string) *httptest.ResponseRecorder {
	return x.send(x.front, "GET", url, fields)
}

// wants asks for a URL and wants an answer.
func (x *tier) wants(body, url string, fields ...string) {
	x.t.Helper()
	if w := x.ask(url, fields...); w.Body.String() != body {
		x.t.Errorf("%s %q: got %d %q, want %q (%v)", url, fields, w.Code, w.Body, body, w.Header())
	}
}

// purges sends a purge, as an application server does, and wants an answer that
// begins with status and contains said.
func (x *tier) purges(status int, said, method, url string, fields ...string) {
	x.t.Helper()
	w := x.send(x.purge, method, url, fields)
	if w.Code != status || !strings.HasPrefix(w.Body.String(), fmt.Sprint(status)) || !strings.Contains(w.Body.String(), said) {
		x.t.Errorf("%s %s %q: got %d %q, want %d %q", method, url, fields, w.Code, w.Body, status, said)
	}
}

func (x *tier) send(to http.Handler, method, url string, fields []string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	r.RemoteAddr = "10.0.0.11:1"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r)
	return w
}

// A planned is a request and what is done with it.
type planned struct {
	url    string
	fields []string
	pass   bool
	key    string // the parts besides the URL
	query  string // what of it is in the key; "" if url has none
}

func plans(t *testing.T, rules cache.Rules, cases []planned) {
	t.Helper()
	x := open(t, cache.Options{Rules: rules}, func(w http.ResponseWriter, r *http.Request, _ int) {
		fmt.Fprint(w, r.URL.RawQuery)
		w.Header().Set("Cache-Control", "public, max-age=60")
	})
	for _, c := range cases {
		r := httptest.NewRequest("GET", "http://shop.example"+c.url, nil)
		for _, f := range c.fields {
			name, value, _ := strings.Cut(f, ":")
			r.Header.Add(name, strings.TrimSpace(value))
		}
		plan := rules.Plan(r)
		if key := strings.Join(plan.Key, " "); plan.Pass != c.pass || key != c.key {
			t.Errorf("%s %q: pass %t (%s), key %q; want %t, %q", c.url, c.fields, plan.Pass, plan.Why, key, c.pass, c.key)
		}
		if strings.Contains(c.url, "?") && !c.pass {
			if got := x.ask("http://shop.example"+c.url, c.fields...).Body.String(); got != c.query {
				t.Errorf("%s: the backend is asked for %q, want %q", c.url, got, c.query)
			}
		}
	}
}
