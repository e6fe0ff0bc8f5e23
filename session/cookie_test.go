package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/session"
)

// TestTheCookieIsSmall, whatever the session holds.
func TestTheCookieIsSmall(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/much": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "much", errors.Join(s.Subject(strings.Repeat("u", 1000)), s.Set("much", strings.Repeat("x", 60_000))))
		},
	})))
	if w := b.do("POST", "/much"); w.Code != http.StatusOK || len(w.Header().Get("Set-Cookie")) > 150 {
		t.Errorf("%d %s", w.Code, w.Header().Get("Set-Cookie"))
	}
}

// TestPrefixForging: a cookie that PHP would take for ours does not
// pass, and two of our name count for none.
func TestPrefixForging(t *testing.T) {
	var passed string
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/pass": func(_ http.ResponseWriter, r *http.Request, _ *session.Session) { passed = r.Header.Get("Cookie") },
	})))
	b.do("POST", "/add?sku=tea")
	own := "__Host-sid=" + b.cookies["__Host-sid"]
	cases := map[string]string{
		own + "; a=1":                        own + "; a=1",
		"..Host-sid=x; " + own:               own,
		"%5F%5FHost-sid=x; a=1":              "a=1",
		"_.Host-sid=x; a.b=2; __Host.sid=3":  "a.b=2; __Host.sid=3",
		"[_Host-sid=x; %5f_Host-%73id=y; c=": "c=",
	}
	for in, want := range cases {
		r := httptest.NewRequest("GET", "https://shop.example/pass", nil)
		r.Header.Set("Cookie", in)
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		if passed != want {
			t.Errorf("%s: passed %q, want %q", in, passed, want)
		}
		if r.Header.Get("Cookie") != in {
			t.Errorf("%s: the caller's request was changed", in)
		}
	}
	r := httptest.NewRequest("GET", "https://shop.example/read", nil)
	r.Header.Set("Cookie", own+"; "+own)
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if body(w) != "null" {
		t.Errorf("two cookies of our name: %s", body(w))
	}
}
