package cache

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// sendPurge sends a purge from an address that may, with fields "Name: value".
func sendPurge(t *testing.T, purge http.Handler, method, url string, fields ...string) (status int, said string) {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	r.RemoteAddr = "192.0.2.7:1"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	w := do(purge, r)
	return w.Code, w.Body.String()
}

// purgeable returns a cache of pages on two hosts, each with the tags of its path
// (/a/b has a and b), a function that fills it, and its purge handler.
func purgeable(t *testing.T, opts Options) (c *Cache, fill func(), purge http.Handler) {
	t.Helper()
	b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Xkey", strings.ReplaceAll(r.URL.Path[1:], "/", " "))
	}}
	c, h := open(t, opts, b)
	purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		for _, host := range []string{"a.example", "b.example:8443"} {
			for _, path := range []string{"/p1", "/p1/p2", "/p3"} {
				get(h, "http://"+host+path)
			}
		}
	}, purge
}

// TestPurgeByTags: by the fields and methods of Varnish' xkey, FOSHttpCache, Fastly
// and Cloudflare.
func TestPurgeByTags(t *testing.T) {
	cases := map[string]struct {
		method  string
		fields  []string
		byHost  bool
		removed int
		said    string // of a 400
	}{
		"xkey":                        {method: "PURGE", fields: []string{"xkey: p1"}, removed: 4},
		"several by blanks":           {method: "PURGE", fields: []string{"xkey: p2  p3"}, removed: 4},
		"several by commas":           {method: "PURGE", fields: []string{"Surrogate-Key: p2,p3, p4"}, removed: 4},
		"in several lines":            {method: "PURGE", fields: []string{"Cache-Tag: p2", "Cache-Tag: p3"}, removed: 4},
		"in several fields":           {method: "PURGE", fields: []string{"Cache-Tags: p2", "xkey: p3"}, removed: 4},
		"one response counts once":    {method: "PURGE", fields: []string{"xkey: p1 p2"}, removed: 4},
		"nothing has it":              {method: "PURGE", fields: []string{"xkey: p"}, removed: 0},
		"by BAN":                      {method: "BAN", fields: []string{"Cache-Tags: p3"}, removed: 2},
		"by PURGEKEYS":                {method: "PURGEKEYS", fields: []string{"xkey-purge: p3"}, removed: 2},
		"softly":                      {method: "PURGEKEYS", fields: []string{"xkey-softpurge: p3"}, removed: 2},
		"of the host":                 {method: "PURGE", fields: []string{"xkey: p1"}, byHost: true, removed: 2},
		"a URL of the host":           {method: "PURGE", byHost: true, removed: 1},
		"no tag":                      {method: "PURGE", fields: []string{"xkey: , "}, said: "names no tag"},
		"a pattern":                   {method: "PURGE", fields: []string{"Cache-Tag: p.*"}, said: "Cache-Tag holds a pattern"},
		"what is a pattern by name":   {method: "PURGE", fields: []string{"X-Magento-Tags-Pattern: .*"}, said: "X-Magento-Tags-Pattern is not understood"},
		"understood and not":          {method: "PURGE", fields: []string{"xkey: p1", "X-Ban-Url: .*"}, said: "X-Ban-Url is not understood"},
		"BAN of no tags":              {method: "BAN", said: "BAN names no tags"},
		"PURGEKEYS of no tags":        {method: "PURGEKEYS", said: "PURGEKEYS names no tags"},
		"a field of a pool's matters": {method: "PURGE", fields: []string{"X-Pool: x"}, removed: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, fill, purge := purgeable(t, Options{PurgeByHost: c.byHost})
				fill()
				wantStatus, wantSaid := 200, fmt.Sprintf(", responses: %d\n", c.removed)
				if c.said != "" {
					wantStatus, wantSaid = 400, c.said
				}
				status, said := sendPurge(t, purge, c.method, "http://a.example/p1", c.fields...)
				if status != wantStatus || !strings.Contains(said, wantSaid) {
					t.Fatalf("%d %q, want %d %q", status, said, wantStatus, wantSaid)
				}
				if c.said != "" && !strings.HasPrefix(said, "400 nothing purged: ") {
					t.Errorf("said %q", said)
				}
				left := 6 - c.removed
				if name == "softly" {
					left = 6
				}
				if n := cache.store.Stats().Count; n != left {
					t.Errorf("%d are left, want %d", n, left)
				}
			})
		})
	}
}

// TestSoftPurgeByTags: what shops and Fastly call soft is stale, served for the
// grace, and counted once.
func TestSoftPurgeByTags(t *testing.T) {
	for _, field := range []string{"Soft-Purge: 1", "Fastly-Soft-Purge: 1", "X-Magento-Purge-Soft: 1"} {
		synctest.Test(t, func(t *testing.T) {
			c, fill, purge := purgeable(t, Options{})
			fill()
			for _, want := range []string{", responses: 4\n", ", responses: 0\n"} {
				if status, said := sendPurge(t, purge, "PURGE", "http://a.example/", "xkey: p1", field); status != 200 || !strings.HasSuffix(said, want) {
					t.Errorf("%s: %d %q, want %q", field, status, said, want)
				}
			}
			if n := c.store.Stats().Count; n != 6 {
				t.Errorf("%d are left", n)
			}
		})
	}
}

// TestTagsOfAHost: a fetch that is overtaken is one of that host only.
func TestTagsOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
			if n <= 2 {
				<-release
			}
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Xkey", "p1")
		}}
		c, h := open(t, Options{}, b)
		for _, host := range []string{"a", "b"} {
			go get(h, "http://"+host+".example/")
		}
		synctest.Wait()
		done, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"p1"}, Host: "a.example", Hard: true})
		if err != nil || done.Responses != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		close(release)
		synctest.Wait()
		if n := c.store.Stats().Count; n != 1 {
			t.Errorf("%d are stored, want b.example's", n)
		}
		get(h, "http://a.example/")
		if done, err = c.Invalidate(t.Context(), Invalidation{Tags: []string{"p1", "p2"}, Host: "b.example", Hard: true}); err != nil || done.Responses != 1 {
			t.Errorf("%+v, %v", done, err)
		}
		for _, inv := range []Invalidation{{Tags: []string{"p1"}, Host: "a.example", PathPrefix: "/a"}, {Tags: []string{"p1"}, Host: "http://a.example"}, {All: true, Host: "a.example"}} {
			if _, err := c.Invalidate(t.Context(), inv); err == nil {
				t.Errorf("%+v was applied", inv)
			}
		}
	})
}

// TestPurgeByRules: an application's own way comes first; all of a cache is all of
// a host where hosts are apart.
func TestPurgeByRules(t *testing.T) {
	rules := Rules{Purge: func(r *http.Request) ([]Invalidation, error) {
		switch r.Header.Get("X-Own") {
		case "all":
			return []Invalidation{{All: true}}, nil
		case "below":
			return []Invalidation{{PathPrefix: "/p1"}, {Tags: []string{"p3"}}}, nil
		case "wrong":
			return []Invalidation{{PathPrefix: "/p1"}, {}}, nil
		case "odd":
			return nil, errors.New("X-Own is odd")
		}
		return nil, nil
	}}
	for _, c := range []struct {
		own    string
		byHost bool
		status int
		said   string
		left   int
	}{
		{"all", false, 200, "responses: 6", 0},
		{"all", true, 200, "responses: 3", 3},
		{"below", false, 200, "responses: 6", 0},
		{"below", true, 200, "responses: 3", 3},
		{"wrong", false, 400, "nothing purged", 6},
		{"odd", false, 400, "X-Own is odd", 6},
		{"", false, 200, "responses: 1", 5},
	} {
		cache, fill, purge := purgeable(t, Options{Rules: rules, PurgeByHost: c.byHost})
		fill()
		status, said := sendPurge(t, purge, "PURGE", "http://b.example:8443/p1", "X-Own: "+c.own)
		if status != c.status || !strings.Contains(said, c.said) {
			t.Errorf("%+v: %d %q", c, status, said)
		}
		if n := cache.store.Stats().Count; n != c.left {
			t.Errorf("%+v: %d are left", c, n)
		}
	}
}

// TestNobodyElsePurgesByTags: nor by another method.
func TestNobodyElsePurgesByTags(t *testing.T) {
	c, fill, purge := purgeable(t, Options{})
	fill()
	for _, method := range PurgeMethods() {
		r := httptest.NewRequest(method, "http://a.example/", nil)
		r.RemoteAddr = "203.0.113.7:1"
		r.Header.Set("Xkey", "p1")
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		if w := do(purge, r); w.Code != 403 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if n := c.store.Stats().Count; n != 6 {
		t.Errorf("%d are left", n)
	}
}
