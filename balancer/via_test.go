package balancer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestVia(t *testing.T) {
	var got *http.Request
	page := here(func(_ http.ResponseWriter, r *http.Request) { got = r })
	ask := func(p http.Handler, edit ...func(*http.Request)) (via, cdn string, code int) {
		t.Helper()
		got = &http.Request{Header: http.Header{}}
		code = get(p, "GET", "/", nil, edit...).Code
		return strings.Join(got.Header["Via"], "|"), strings.Join(got.Header["Cdn-Loop"], "|"), code
	}
	http2 := func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }
	named := newPool(t, page, Options{Via: "shop"})
	for _, c := range []struct {
		pool *Pool
		edit func(*http.Request)
		via  string
		cdn  string
	}{
		{named, func(*http.Request) {}, "1.1 shop", ""},
		{named, http2, "2.0 shop", ""},
		{named, func(r *http.Request) { r.Header["Via"] = []string{"1.0 fred", "HTTP/1.1 cdn.example:80 (a, b)"} }, "1.0 fred, HTTP/1.1 cdn.example:80 (a, b), 1.1 shop", ""},
		{named, header("Cdn-Loop", "cdn"), "1.1 shop", "cdn"},
		{newPool(t, page, Options{Via: NoVia}), header("Via", "1.1 cdn"), "1.1 cdn", "foretier"},
		{newPool(t, page, Options{Via: NoVia}), header("Cdn-Loop", "cdn; a=b"), "", "cdn; a=b, foretier"},
	} {
		via, cdn, code := ask(c.pool, c.edit)
		if name, _, ok := strings.Cut(cdn, "foretier-"); ok { // and what is random of it
			cdn = name + "foretier"
		}
		if via != c.via || cdn != c.cdn || code != 200 {
			t.Errorf("got %d, Via %q, CDN-Loop %q; want %q, %q", code, via, cdn, c.via, c.cdn)
		}
	}
	one, _, _ := ask(newPool(t, page, Options{}))
	other, _, _ := ask(newPool(t, page, Options{}))
	if one == other || !strings.HasPrefix(one, "1.1 foretier-") {
		t.Errorf("pseudonyms: %q and %q", one, other)
	}
	for _, bad := range []string{"a b", "a,b", "a:80", "a(b)", "ä", "a\r\nb", `"a"`} {
		if _, err := New(nil, Options{Via: bad}); err == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}

// What comes back is answered with 508, whatever was in between; the pools of
// one process in a row are no loop.
func TestLoop(t *testing.T) {
	const name = "shop"
	h := hop{name: name, field: "Via"}
	for _, c := range []struct {
		via  []string
		want bool
	}{
		{nil, false},
		{[]string{"1.1 shop"}, true},
		{[]string{"1.1 SHOP"}, true},
		{[]string{"HTTP/1.1\tshop (ours)"}, true},
		{[]string{"1.0 fred, 1.1 shop , 1.1 cdn"}, true},
		{[]string{"1.0 fred", "2.0 shop"}, true},
		{[]string{"1.1 cdn (before, (1.1 shop, and) 1.1 shop), 1.1 other"}, false},
		{[]string{`1.1 cdn (\), 1.1 shop)`}, false},
		{[]string{"1.1 cdn (), 1.1 shop"}, true},
		{[]string{"1.1 shop.example"}, false},
		{[]string{"shop 1.1", "shop", "", ",", "1.1"}, false},
	} {
		if got := h.seen(http.Header{"Via": c.via}); got != c.want {
			t.Errorf("Via %q: seen: %v", c.via, got)
		}
	}
	cdn := hop{name: name, field: "Cdn-Loop"}
	for loop, want := range map[string]bool{"shop": true, "cdn, shop; v=1": true, `cdn; x=", shop,"`: false, "1.1 shop": false} {
		if got := cdn.seen(http.Header{"Cdn-Loop": {loop}}); got != want {
			t.Errorf("CDN-Loop %q: seen: %v", loop, got)
		}
	}
	for _, via := range []string{"", name, NoVia} {
		asked := 0
		var first *Pool
		second := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked > 10 {
				return
			}
			first.ServeHTTP(w, r)
		}), Options{})
		first = newPool(t, []Backend{{Name: "second", Handler: second}}, Options{Via: via})
		if w := get(first, "POST", "/", nil); w.Code != http.StatusLoopDetected || asked != 1 {
			t.Errorf("Via %q: round and round: %d after %d times", via, w.Code, asked)
		}
		row := newPool(t, []Backend{{Name: "next", Handler: newPool(t, here(servedBy("a")), Options{})}}, Options{Via: via})
		if w := get(row, "GET", "/", nil); w.Code != 200 {
			t.Errorf("Via %q: two in a row: %d", via, w.Code)
		}
		r := httptest.NewRequest("GET", "/", nil)
		first.hop.sign(r.Header, r)
		if d := first.Explain(r); d.Verdict != "508" {
			t.Errorf("Explain: %s", d)
		}
	}
}

func TestMaxForwards(t *testing.T) {
	for _, c := range []struct{ method, value, want string }{ // want: what the backend gets; "last": it gets nothing
		{"OPTIONS", "0", "last"},
		{"TRACE", "0", "last"},
		{"TRACE", "00", "last"},
		{"OPTIONS", "10", "9"},
		{"TRACE", "1", "0"},
		{"GET", "0", "0"},
		{"OPTIONS", "-1", "-1"},
		{"OPTIONS", "many", "many"},
		{"OPTIONS", "99999999999999999999999", "2147483647"},
	} {
		got := "last"
		p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Max-Forwards") }), Options{})
		w := get(p, c.method, "/", nil, header("Max-Forwards", c.value))
		if got != c.want {
			t.Errorf("%s with %q: the backend got %q", c.method, c.value, got)
		}
		if c.want == "last" && (w.Header().Get("Allow") == "" || c.method == "OPTIONS" && w.Code != 200 || c.method == "TRACE" && w.Code != 405) {
			t.Errorf("%s with %q: %d %v", c.method, c.value, w.Code, w.Header())
		}
	}
}
