package session_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

var (
	oneKey   = bytes.Repeat([]byte("1"), 32)
	otherKey = bytes.Repeat([]byte("2"), 32)
)

func sticky(t *testing.T, key []byte, opts session.StickyOptions) *session.Sticky {
	t.Helper()
	s, err := session.NewSticky(key, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request returns a request over HTTPS with the cookies of earlier answers.
func request(method string, answers ...http.Header) *http.Request {
	r := httptest.NewRequest(method, "https://shop.example/", nil)
	r.TLS = new(tls.ConnectionState)
	for _, h := range answers {
		for _, c := range (&http.Response{Header: h}).Cookies() {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return r
}

// bound returns the header of web1's answer to a first POST.
func bound(s *session.Sticky) http.Header {
	h := http.Header{}
	s.Bind(h, request("POST"), "web1")
	return h
}

func TestStickyBinds(t *testing.T) {
	first := bound(sticky(t, oneKey, session.StickyOptions{}))
	cases := map[string]struct {
		method  string
		always  bool
		header  http.Header // the response's
		fetch   string      // Sec-Fetch-Site
		origin  string
		sent    []http.Header
		backend string
		want    bool
	}{
		"first page":                      {method: "GET", backend: "web1"},
		"first page, always":              {method: "GET", always: true, backend: "web1", want: true},
		"first post":                      {method: "POST", backend: "web1", want: true},
		"the application sets a cookie":   {method: "GET", header: http.Header{"Set-Cookie": {"PHPSESSID=1"}}, backend: "web1", want: true},
		"pinned already":                  {method: "POST", sent: []http.Header{first}, backend: "web1"},
		"another server answered":         {method: "GET", sent: []http.Header{first}, backend: "web2", want: true},
		"return from payment, unpinned":   {method: "POST", fetch: "cross-site", backend: "web2"},
		"return from payment, moved":      {method: "POST", fetch: "cross-site", sent: []http.Header{first}, backend: "web2"},
		"return, older browser":           {method: "POST", origin: "https://pay.example", backend: "web2"},
		"return, opaque origin":           {method: "POST", origin: "null", backend: "web2"},
		"return, with a cookie set":       {method: "POST", fetch: "cross-site", header: http.Header{"Set-Cookie": {"a=1"}}, backend: "web2"},
		"the shop's own form":             {method: "POST", fetch: "same-origin", backend: "web1", want: true},
		"its own form, older browser":     {method: "POST", origin: "https://shop.example", backend: "web1", want: true},
		"a cross-site link":               {method: "GET", fetch: "cross-site", sent: []http.Header{first}, backend: "web2", want: true},
		"a doubled cookie":                {method: "GET", sent: []http.Header{first, first}, backend: "web1", want: true},
		"a cookie of another pool's name": {method: "GET", sent: []http.Header{{"Set-Cookie": {"other=1"}}}, backend: "web1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := sticky(t, oneKey, session.StickyOptions{Always: c.always})
			r := request(c.method, c.sent...)
			if c.fetch != "" {
				r.Header.Set("Sec-Fetch-Site", c.fetch)
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			h := http.Header{"Cache-Control": {"public, s-maxage=60"}, "Cdn-Cache-Control": {"max-age=60"}, "Surrogate-Control": {"max-age=60"}, "Foretier-Cache-Control": {"max-age=60"}}
			for k, v := range c.header {
				h[k] = v
			}
			before := len(h["Set-Cookie"])
			s.Bind(h, r, c.backend)
			if got := len(h["Set-Cookie"]) > before; got != c.want {
				t.Fatalf("bound: got %t, want %t", got, c.want)
			}
			shared := h.Get("Cache-Control") != "no-store" || h.Get("Cdn-Cache-Control") != "" || h.Get("Surrogate-Control") != "" || h.Get("Foretier-Cache-Control") != ""
			if shared == c.want {
				t.Errorf("cache headers: %v", h)
			}
			if c.want {
				if got, _ := s.Choose(request("GET", http.Header{"Set-Cookie": h["Set-Cookie"]})); got != c.backend {
					t.Errorf("then chosen: %q, want %q", got, c.backend)
				}
			}
		})
	}
}

func TestStickyCookie(t *testing.T) {
	s := sticky(t, oneKey, session.StickyOptions{})
	for scheme, want := range map[string]string{
		"https": "; Path=/; HttpOnly; Secure; SameSite=None",
		"http":  "; Path=/; HttpOnly; SameSite=Lax",
	} {
		r := request("POST")
		if scheme == "http" {
			r.TLS = nil
		}
		h := http.Header{}
		s.Bind(h, r, "web1")
		got := h.Get("Set-Cookie")
		if !strings.HasPrefix(got, "route=") || !strings.HasSuffix(got, want) || strings.Count(got, ";") != strings.Count(want, ";") {
			t.Errorf("%s: %s", scheme, got)
		}
		if strings.Contains(got, "web1") || strings.Contains(got, "d2Vi") {
			t.Errorf("%s: the cookie tells the backend's name: %s", scheme, got)
		}
	}
}

func TestStickyChooses(t *testing.T) {
	first := bound(sticky(t, oneKey, session.StickyOptions{}))
	forged := http.Header{"Set-Cookie": {strings.Replace(first.Get("Set-Cookie"), "route=", "route=A", 1)}}
	cases := map[string]struct {
		key        []byte
		opts       session.StickyOptions
		sent       []http.Header
		want, key2 string
	}{
		"no cookie":           {key: oneKey},
		"a good one":          {key: oneKey, sent: []http.Header{first}, want: "web1"},
		"forged":              {key: oneKey, sent: []http.Header{forged}},
		"doubled":             {key: oneKey, sent: []http.Header{first, first}},
		"an unknown key":      {key: otherKey, sent: []http.Header{first}},
		"the previous key":    {key: otherKey, opts: session.StickyOptions{Previous: oneKey}, sent: []http.Header{first}, want: "web1"},
		"empty":               {key: oneKey, sent: []http.Header{{"Set-Cookie": {"route="}}}},
		"PHP's session, free": {key: oneKey, sent: []http.Header{{"Set-Cookie": {"PHPSESSID=abc"}}}, key2: "abc"},
		"a pin beats it":      {key: oneKey, sent: []http.Header{first, {"Set-Cookie": {"PHPSESSID=abc"}}}, want: "web1"},
		"by address":          {key: oneKey, opts: session.StickyOptions{Key: session.ByAddress}, key2: "192.0.2.1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, key := sticky(t, c.key, c.opts).Choose(request("GET", c.sent...))
			if got != c.want || key != c.key2 {
				t.Errorf("got %q, %q, want %q, %q", got, key, c.want, c.key2)
			}
		})
	}
}

func TestStickyOfAnotherPool(t *testing.T) {
	a := sticky(t, oneKey, session.StickyOptions{Name: "a"})
	h := http.Header{}
	a.Bind(h, request("POST"), "web1")
	moved := http.Header{"Set-Cookie": {strings.Replace(h.Get("Set-Cookie"), "a=", "b=", 1)}}
	if got, _ := sticky(t, oneKey, session.StickyOptions{Name: "b"}).Choose(request("GET", moved)); got != "" {
		t.Errorf("a pin of pool a chose %q in pool b", got)
	}
}

func TestStickyIdleAndLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sticky(t, oneKey, session.StickyOptions{})
		sent := bound(s)
		visit := func() (name string, renewed bool) {
			r := request("GET", sent)
			name, _ = s.Choose(r)
			h := http.Header{}
			s.Bind(h, r, "web1")
			if h.Get("Set-Cookie") != "" {
				sent, renewed = h, true
			}
			return name, renewed
		}
		time.Sleep(14 * time.Minute)
		if name, renewed := visit(); name != "web1" || renewed {
			t.Errorf("after 14 min: %q, renewed %t", name, renewed)
		}
		time.Sleep(time.Minute)
		if name, renewed := visit(); name != "web1" || !renewed {
			t.Errorf("after a quarter of Idle: %q, renewed %t", name, renewed)
		}
		time.Sleep(time.Hour)
		if name, renewed := visit(); name != "" || !renewed {
			t.Errorf("after Idle: %q, renewed %t", name, renewed)
		}
		start := time.Now()
		for time.Since(start) < 8*time.Hour {
			if name, _ := visit(); name != "web1" {
				t.Fatalf("in use for %v: %q", time.Since(start), name)
			}
			time.Sleep(30 * time.Minute)
		}
		if name, _ := visit(); name != "" {
			t.Errorf("after Life: %q", name)
		}
	})
}

// Choose is asked for explanations, too, so that only an answer counts what came.
func TestStickyCountsWhatItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sticky(t, oneKey, session.StickyOptions{})
		old := bound(sticky(t, oneKey, session.StickyOptions{}))
		time.Sleep(2 * time.Hour)
		forged := bound(sticky(t, otherKey, session.StickyOptions{}))
		for i, sent := range []http.Header{old, forged} {
			for range 2 {
				s.Choose(request("GET", sent))
			}
			s.Bind(http.Header{}, request("GET", sent), "web1")
			got := map[string]float64{}
			for _, m := range s.Report().Metrics {
				got[m.Name] = m.Value
			}
			if got["pins_expired_total"] != 1 || got["cookies_refused_total"] != float64(i) {
				t.Errorf("after answer %d: %v", i+1, got)
			}
		}
	})
}

func TestStickyRotatesItsKey(t *testing.T) {
	before := bound(sticky(t, oneKey, session.StickyOptions{}))
	s := sticky(t, otherKey, session.StickyOptions{Previous: oneKey})
	h := http.Header{}
	s.Bind(h, request("GET", before), "web1")
	if got, _ := sticky(t, otherKey, session.StickyOptions{}).Choose(request("GET", h)); got != "web1" {
		t.Error("a pin of the previous key was not sealed with the new one")
	}
}

func TestStickyStrip(t *testing.T) {
	s := sticky(t, oneKey, session.StickyOptions{Name: "shop_route"})
	cases := map[string]string{
		"shop_route=x":                        "",
		"a=1; shop_route=x; b=2":              "a=1; b=2",
		"shop.route=x; a=1":                   "a=1",
		"shop%5Froute=x; shop%5froute=y; a=1": "a=1",
		"shop[route=x; shop+route=y; a=1":     "a=1",
		"shop-route=x; shop_route2=y":         "shop-route=x; shop_route2=y",
	}
	for in, want := range cases {
		h := http.Header{"Cookie": {in}}
		s.Strip(h)
		if got := h.Get("Cookie"); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	if !s.OwnsCookie("shop_route") || s.OwnsCookie("sid") {
		t.Error("OwnsCookie")
	}
}

func TestNewStickySaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		key  []byte
		opts session.StickyOptions
		want string
	}{
		"short key":      {[]byte("short"), session.StickyOptions{}, "at least 32"},
		"short previous": {oneKey, session.StickyOptions{Previous: []byte{}}, "previous"},
		"name":           {oneKey, session.StickyOptions{Name: "a;b"}, "cookie"},
		"life":           {oneKey, session.StickyOptions{Idle: time.Hour, Life: time.Minute}, "Idle"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := session.NewSticky(c.key, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNobodyForgesAPin is covered in full by sticky_test.go; here is
// the sum of it: nobody without the key makes a pin, or learns from one.
func TestNobodyForgesAPin(t *testing.T) {
	value := strings.TrimPrefix(strings.Split(bound(sticky(t, oneKey, session.StickyOptions{})).Get("Set-Cookie"), ";")[0], "route=")
	s := sticky(t, oneKey, session.StickyOptions{})
	for i := range len(value) {
		for _, c := range []byte("Aa0") {
			if value[i] == c {
				continue
			}
			forged := value[:i] + string(c) + value[i+1:]
			r := request("GET")
			r.AddCookie(&http.Cookie{Name: "route", Value: forged})
			if name, _ := s.Choose(r); name != "" {
				t.Fatalf("with character %d changed it chose %q", i, name)
			}
		}
	}
}
