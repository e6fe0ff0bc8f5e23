package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers with what it was told in X-Shop and X-New.
func echo(header http.Header) *backend {
	return &backend{header: header, answer: func(w http.ResponseWriter, r *http.Request, n int) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintf(w, "%d%s%s", n, r.Header.Get("X-Shop"), r.Header.Get("X-New"))
	}}
}

// TestFillFields: what a client says in a field that may not fill the cache is
// in nobody else's page, and the page is stored for all others all the same.
func TestFillFields(t *testing.T) {
	b := echo(control("max-age=60"))
	c, h := open(t, Options{FillFields: append(BrowserFields(), "x-shop*")}, b)
	const url = "http://a.example/"
	for _, name := range []string{"X-New", "x-new"} {
		r := httptest.NewRequest("GET", url, nil)
		r.Header[name] = []string{"<script>"}
		do(h, r)
	}
	get(h, url, "X-New", "<script>", "User-Agent", "x")
	want(t, get(h, url, "User-Agent", "x", "Sec-Fetch-Mode", "navigate", "X-Shop", "/de", "If-None-Match", `"a"`, "X-Request-Id", "1"), 200, "4/de")
	want(t, get(h, url, "X-New", "<script>"), 200, "4/de") // answered from the cache

	if _, err := c.Invalidate(t.Context(), Invalidation{All: true, Hard: true}); err != nil {
		t.Fatal(err)
	}
	if steps := h.(*handler).Explain(httptest.NewRequest("GET", url, nil)).Steps; slices.ContainsFunc(steps, func(s string) bool { return s == "not stored, unless it varies on X-New" }) {
		t.Errorf("explained: %q", steps)
	}
	r := httptest.NewRequest("GET", url, nil)
	r.Header.Set("X-New", "1")
	if steps := h.(*handler).Explain(r).Steps; !slices.Contains(steps, "not stored, unless it varies on X-New") {
		t.Errorf("explained: %q", steps)
	}
	// Nor does a POST that says that it is the page.
	b.header.Set("Content-Location", "/")
	r = httptest.NewRequest("POST", url, nil)
	r.Header.Set("X-New", "<script>")
	do(h, r)
	want(t, get(h, url), 200, "6")
}

// TestFillFieldsThatVaryTell: what an answer says that it varies on is not
// unkeyed.
func TestFillFieldsThatVaryTell(t *testing.T) {
	b := echo(http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"x-new"}})
	_, h := open(t, Options{FillFields: []string{}}, b)
	const url = "http://a.example/"
	want(t, get(h, url, "X-New", "a"), 200, "1a")
	want(t, get(h, url, "X-New", "a"), 200, "1a")
	want(t, get(h, url, "X-New", "a", "X-Shop", "s"), 200, "1a")
	want(t, get(h, url, "X-New", "b", "X-Shop", "s"), 200, "2sb") // one of the two is not told
	want(t, get(h, url, "X-New", "b"), 200, "3b")
}

// TestFillFieldsOfARefresh: what goes on behind a client's back says nothing of
// it.
func TestFillFieldsOfARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := echo(control("max-age=10, stale-while-revalidate=60"))
		_, h := open(t, Options{FillFields: []string{"X-Shop"}}, b)
		const url = "http://a.example/"
		want(t, get(h, url), 200, "1")
		time.Sleep(11 * time.Second)
		want(t, get(h, url, "X-New", "<script>", "X-Shop", "s"), 200, "1")
		synctest.Wait()
		want(t, get(h, url, "X-New", "<script>"), 200, "2s")
	})
}

// TestFillFieldsOfAValidation: a 304 that somebody's own request has brought
// does not renew the page.
func TestFillFieldsOfAValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := echo(http.Header{"Cache-Control": {"max-age=10"}, "Etag": {`"a"`}})
		_, h := open(t, Options{FillFields: []string{}, Rules: Rules{Retention: func(_ *http.Request, _ Head, v Retention) Retention {
			v.Store = true
			return v
		}}}, b)
		const url = "http://a.example/"
		want(t, get(h, url), 200, "1")
		time.Sleep(11 * time.Second)
		for range 2 {
			before := b.calls.Load()
			want(t, get(h, url, "X-New", "304"), 200, "1")
			if b.calls.Load() == before {
				t.Error("renewed")
			}
		}
		want(t, get(h, url), 200, "1")
		before := b.calls.Load()
		want(t, get(h, url, "X-New", "x"), 200, "1")
		if b.calls.Load() != before {
			t.Error("not renewed by a plain request")
		}
	})
}

func TestFillFieldsAreNames(t *testing.T) {
	for _, name := range []string{"X Shop", "X:", ""} {
		if c, err := New(Options{FillFields: []string{name}}); err == nil {
			c.Close()
			t.Errorf("%q is taken", name)
		}
	}
}
