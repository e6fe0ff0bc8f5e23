package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhyNotStored: what passes and what is not stored is counted by its reason.
func TestWhyNotStored(t *testing.T) {
	b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		for name, values := range r.URL.Query() {
			w.Header()[name] = values
		}
		io.WriteString(w, "x")
	}}
	rules := Rules{Plan: func(r *http.Request) Plan {
		return Plan{Pass: strings.HasPrefix(r.URL.Path, "/cart"), Why: "cart"}
	}}
	c, h := open(t, Options{Rules: rules}, b)
	for _, url := range []string{
		"/?Cache-Control=max-age%3d60", "/?Cache-Control=max-age%3d60", "/cart", "/cart/7", "/?Cache-Control=no-store",
		"/?Cache-Control=private", "/a?Cache-Control=private", "/?", "/?Cache-Control=max-age%3d60&Set-Cookie=a",
	} {
		get(h, "http://a.example"+url)
	}
	get(h, "http://a.example/?Cache-Control=max-age%3d60", "Cookie", "a=b")
	get(h, "http://b.example/?Cache-Control=max-age%3d60", "Cookie", "a=b")
	do(h, httptest.NewRequest("POST", "http://a.example/", nil))
	var got []string
	for _, m := range c.Report().Metrics {
		if m.Name == "responses_not_stored_total" {
			got = append(got, fmt.Sprintf("%s %v", m.Labels[0].Value, m.Value))
		}
	}
	const want = "no lifetime 1, no-store 1, pass: cart 2, pass: method 1, private 2, request with a cookie 1, sets a cookie 1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range 100 {
		c.reasons.count(fmt.Sprint("odd ", i))
	}
	if list, counts := c.reasons.each(); len(list) != maxReasons+1 || counts["other"] != 43 {
		t.Errorf("%d reasons, %d others", len(list), counts["other"])
	}
}
