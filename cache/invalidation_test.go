package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}}}
		c, h := open(t, Options{}, b)
		purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		fill := func() {
			get(h, "http://a.example/x")
			get(h, "http://a.example/x", "Accept-Language", "de")
			get(h, "https://a.example/x")
			get(h, "http://a.example/y")
		}
		fill()
		r := httptest.NewRequest("PURGE", "http://a.example/x", nil)
		r.RemoteAddr = "192.0.2.7:1"
		if w := do(purge, r); w.Code != 200 {
			t.Fatalf("PURGE: %d %s", w.Code, w.Body)
		}
		fill()
		if n := b.calls.Load(); n != 7 { // 4, and 3 again
			t.Errorf("%d calls after a hard purge", n)
		}
		r.Header.Set("Soft-Purge", "1")
		do(purge, r)
		fill()
		synctest.Wait()
		if n := b.calls.Load(); n != 10 {
			t.Errorf("%d calls after a soft purge", n)
		}
		do(purge, r)
		time.Sleep(11 * time.Second)
		if w := get(h, "http://a.example/x"); !strings.HasPrefix(w.Body.String(), "answer 1") || w.Body.String() == "answer 1" {
			t.Errorf("longer than 10 s after a soft purge: %s", w.Body)
		}
		r.RemoteAddr = "203.0.113.1:1"
		if w := do(purge, r); w.Code != 403 {
			t.Errorf("a stranger's PURGE: %d", w.Code)
		}
		r.RemoteAddr = "192.0.2.7:1"
		r.Method = "GET"
		if w := do(purge, r); w.Code != 405 {
			t.Errorf("GET: %d", w.Code)
		}
	})
	c, _ := open(t, Options{}, &backend{})
	if _, err := c.PurgeHandler(nil); !errors.Is(err, ErrPurgeOpen) {
		t.Errorf("a purge handler for nobody: %v", err)
	}
}

func TestPurgeBeatsRunningFetch(t *testing.T) {
	for name, inv := range map[string]Invalidation{
		"URL":    {URL: "http://a.example/x", Hard: true},
		"host":   {Host: "a.example", Hard: true},
		"prefix": {PathPrefix: "/x", Hard: true},
		"all":    {All: true, Hard: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					fmt.Fprintf(w, "answer %d", n) // as of now
					time.Sleep(2 * time.Second)
				}}
				c, h := open(t, Options{}, b)
				go get(h, "http://a.example/x")
				time.Sleep(time.Second)
				if _, err := c.Invalidate(context.Background(), inv); err != nil {
					t.Fatal(err)
				}
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
				time.Sleep(3 * time.Second)
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
			})
		})
	}
}

// What a fetch brings that an invalidation has overtaken takes the place of nothing
// that was asked for after it.
func TestWhatIsOvertakenReplacesNothingNewer(t *testing.T) {
	for name, inv := range map[string]Invalidation{
		"hard":     {URL: "http://a.example/x", Hard: true},
		"soft":     {URL: "http://a.example/x"},
		"soft all": {All: true},
		"hard tag": {Tags: []string{"t"}, Hard: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					if n == 1 {
						w.Header().Set("Cache-Tag", "t")
					}
					fmt.Fprintf(w, "answer %d", n)
					if n == 1 {
						_ = http.NewResponseController(w).Flush()
						time.Sleep(5 * time.Second)
					}
				}}
				c, h := open(t, Options{}, b)
				go get(h, "http://a.example/x")
				time.Sleep(time.Second)
				if _, err := c.Invalidate(t.Context(), inv); err != nil {
					t.Fatal(err)
				}
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
				time.Sleep(10 * time.Second) // the first has come
				for range 2 {
					want(t, get(h, "http://a.example/x"), 200, "answer 2")
					synctest.Wait()
				}
				if n := b.calls.Load(); n != 2 {
					t.Errorf("%d calls, want 2", n)
				}
			})
		})
	}
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/x")
	do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
	want(t, get(h, "http://a.example/x"), 200, "answer 3")
}

// TestUnknownMethodInvalidatesSoftly: anybody can send FOO, so it buys one
// fetch, and nobody waits for it.
func TestUnknownMethodInvalidatesSoftly(t *testing.T) {
	for method, hard := range map[string]bool{"FOO": false, "M-SEARCH": false, "PURGE": false, "post": false, "POST": true, "PATCH": true, "DELETE": true, "MOVE": true} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
					w.Header().Set("Content-Location", "/y")
					fmt.Fprint(w, r.Method, " ", r.URL.Path)
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/x")
				get(h, "http://a.example/y")
				for range 5 {
					do(h, httptest.NewRequest(method, "http://a.example/x", nil))
					for _, page := range []string{"/x", "/y"} {
						w := get(h, "http://a.example"+page)
						want(t, w, 200, "GET "+page)
						if stale := strings.Contains(w.Header().Get("Cache-Status"), "; hit"); stale == hard {
							t.Errorf("%s: %s", page, w.Header().Get("Cache-Status"))
						}
					}
					synctest.Wait()
				}
				if n := b.calls.Load(); n != 2+5+10 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

func TestTags(t *testing.T) {
	for field, value := range map[string]string{
		"Cache-Tag": "product-5, catalogue", "Surrogate-Key": "product-5 catalogue",
		"Xkey": "catalogue product-5", "X-Magento-Tags": "catalogue,product-5",
	} {
		t.Run(field, func(t *testing.T) {
			b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, field: {value}}}
			c, h := open(t, Options{}, b)
			for range 2 {
				if w := get(h, "http://a.example/"); w.Header()[field] != nil {
					t.Errorf("the client sees the tags: %v", w.Header())
				}
			}
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 1")
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"other", "product-5"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 2")
		})
	}
}

func TestDepends(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		Depends(r.Context(), "product:42")
		fmt.Fprintf(w, "answer %d", n)
	}}
	c, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 1")
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product:42"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 2")
	Depends(context.Background(), "x") // nothing happens
}

func TestCacheGroups(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Cache-Groups": {`"news", "sports"`}}}
	b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
		if r.URL.Path == "/change" {
			w.Header().Set("Cache-Group-Invalidation", `"sports"`)
		}
		fmt.Fprint(w, n)
	}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	get(h, "http://b.example/")
	get(h, "http://a.example/change") // a safe method does not invalidate
	want(t, get(h, "http://a.example/"), 200, "1")
	do(h, httptest.NewRequest("POST", "http://a.example/change", nil))
	want(t, get(h, "http://a.example/"), 200, "5")
	want(t, get(h, "http://b.example/"), 200, "2") // another origin
}

func TestBadInvalidations(t *testing.T) {
	c, _ := open(t, Options{}, &backend{})
	for name, inv := range map[string]Invalidation{
		"nothing": {}, "only hard": {Hard: true}, "two": {All: true, Host: "a"}, "tags and URL": {Tags: []string{"a"}, URL: "http://a/"},
		"relative URL": {URL: "/a"}, "no URL": {URL: "http://a b"}, "prefix without slash": {PathPrefix: "a"},
		"another scheme": {URL: "ftp://a/b"}, "an empty tag": {Tags: []string{"a", ""}},
		"a query in a prefix": {PathPrefix: "/a?b"}, "a fragment in a prefix": {PathPrefix: "/a#b"},
		"a scheme in a host": {Host: "https://a"}, "a path in a host": {Host: "a/b"}, "a pattern in a host": {Host: "*.a"}, "only a port": {Host: ":80"},
		"two hosts": {Host: "a, b"}, "two ports": {Host: "a:1:2"},
		"a host that no client sends": {Host: "bücher.example"}, "a URL of one": {URL: "http://bücher.example/"},
	} {
		if done, err := c.Invalidate(t.Context(), Invalidation{All: true}, inv); err == nil || done != (Invalidated{}) {
			t.Errorf("%s: %+v %v", name, done, err)
		}
	}
	if n := c.log.head(); n != 0 {
		t.Errorf("%d were applied", n)
	}
	first, err := c.Invalidate(t.Context(), Invalidation{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := c.Invalidate(t.Context(), Invalidation{Host: "a"}); err != nil || second.Position <= first.Position {
		t.Errorf("positions do not grow: %+v, %+v, %v", first, second, err)
	}
}

func TestPathPrefix(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	c, h := open(t, Options{}, b)
	for _, path := range []string{"/a", "/a/b", "/a?x", "/ab", "/b/a"} {
		get(h, "http://a.example"+path)
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Host: "A.example", PathPrefix: "/a/", Hard: true}); err != nil {
		t.Fatal(err)
	}
	if n := c.store.Stats().Count; n != 2 {
		t.Errorf("%d are left, want /ab and /b/a", n)
	}
}

// No answer of a purge's is for a cache in front, even if what stands above has
// said otherwise in a field of that cache's own.
func TestNoAnswerOfAPurgeIsStored(t *testing.T) {
	c, _ := open(t, Options{}, &backend{})
	purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Soft-Purge", "X-Magento-Tags-Pattern"} {
		r := httptest.NewRequest("PURGE", "http://a.example/x", nil)
		r.RemoteAddr = "192.0.2.7:1"
		r.Header.Set(field, "1")
		w := httptest.NewRecorder()
		w.Header().Set("Cdn-Cache-Control", "max-age=60")
		purge.ServeHTTP(w, r)
		if h := w.Header(); h.Get("Cache-Control") != "no-store" || h["Cdn-Cache-Control"] != nil {
			t.Errorf("%s: %d, %v", field, w.Code, h)
		}
	}
}

// Magento 6401: the tags are longer than a header may be.
func TestTagsInManyLines(t *testing.T) {
	var tags []string
	for i := range 10_000 {
		tags = append(tags, fmt.Sprint("cat_p_", i))
	}
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "X-Magento-Tags": {strings.Join(tags, ",")}}}
	c, h := open(t, Options{}, b)
	for range 2 {
		if w := get(h, "http://a.example/"); len(w.Header()["X-Magento-Tags"]) != 0 {
			t.Error("the client gets the tags")
		}
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"cat_p_9999"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 2")
}

// victorspringer/http-cache: whoever knows the parameter may purge.
func TestWhoMayPurge(t *testing.T) {
	c, h := open(t, Options{}, &backend{header: control("max-age=60")})
	if _, err := c.PurgeHandler([]netip.Prefix{}); err == nil {
		t.Error("a purge handler for nobody was built")
	}
	purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	get(h, "http://a.example/")
	r := httptest.NewRequest("PURGE", "http://a.example/", nil)
	r.Header.Set("X-Forwarded-For", "127.0.0.1")
	if w := do(purge, r); w.Code != 403 {
		t.Errorf("a stranger: %d", w.Code)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 1")
	// IPv4 that is written as IPv6 is IPv4, and a part of both is nothing.
	mapped, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")})
	if err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest("PURGE", "http://a.example/", nil)
	r.RemoteAddr = "192.0.2.1:1"
	if w := do(mapped, r); w.Code != 200 {
		t.Errorf("one who may: %d", w.Code)
	}
	if _, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("::ffff:0:0/90")}); err == nil {
		t.Error("a purge handler for a part of both was built")
	}
}

// TestWhoWaitsIsNotServedWhatWasPurgedAsFresh: a soft purge by tag overtakes a fetch of
// which nobody knows yet that it is meant. Who came after the purge, and has waited for
// the fetch, is answered by one of its own.
func TestWhoWaitsIsNotServedWhatWasPurgedAsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Cache-Tag": {"product"}}}
		b.answer = func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(2 * time.Second)
			fmt.Fprintf(w, "answer %d", n)
		}
		c, h := open(t, Options{}, b)
		go get(h, "http://a.example/x")
		time.Sleep(time.Second / 2)
		if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second / 2)
		if w := get(h, "http://a.example/x"); w.Body.String() != "answer 2" {
			t.Errorf("%s: %s", w.Body, w.Header().Get("Cache-Status"))
		}
	})
}
