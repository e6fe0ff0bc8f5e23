package cache

import (
	"fmt"
	"net/http"
	"testing"
)

func TestCookies(t *testing.T) {
	cases := map[string]struct {
		cookie, control string
		want            string
	}{
		"a visitor's":          {"sid=1", "max-age=60", "answer 2"},
		"explicitly public":    {"sid=1", "public, max-age=60", "answer 1"},
		"s-maxage":             {"sid=1", "s-maxage=60", "answer 1"},
		"ignored":              {"_ga=1; _ga_X=2", "max-age=60", "answer 1"},
		"ignored and another":  {"_ga=1; sid=2", "max-age=60", "answer 2"},
		"the pool's own":       {"pin=1", "max-age=60", "answer 1"},
		"empty":                {"", "max-age=60", "answer 1"},
		"a name with no value": {"sid", "max-age=60", "answer 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control(c.control)}
			_, h := open(t, Options{IgnoreCookies: []string{"_ga*"}}, pinning{b})
			get(h, "http://a.example/", "Cookie", c.cookie)
			want(t, get(h, "http://a.example/"), 200, c.want)
			want(t, get(h, "http://a.example/", "Cookie", "sid=9"), 200, c.want)
		})
	}
}

type pinning struct{ *backend }

func (pinning) OwnsCookie(name string) bool { return name == "pin" }

func TestSetCookieIsNotShared(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"public, max-age=60"}, "Set-Cookie": {"sid=1"}}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	w := get(h, "http://a.example/")
	want(t, w, 200, "answer 2")
	if got := w.Header().Get("Cache-Status"); got != `Foretier; fwd=uri-miss; fwd-status=200; detail="not to be stored lately"` {
		t.Errorf("Cache-Status: %s", got)
	}
}

func TestAuthorizationGetsOnlyWhatIsForAll(t *testing.T) {
	for value, shared := range map[string]bool{"max-age=60": false, "max-age=60, public": true, "s-maxage=60": true} {
		b := &backend{header: control(value)}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		get(h, "http://a.example/", "Authorization", "Bearer x")
		if one := b.calls.Load() == 1; one != shared {
			t.Errorf("%s: shared: %t", value, one)
		}
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	}
}

func TestPrivateFieldsAreForOne(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {`max-age=60, private="X-Visitor", no-cache="X-Other"`}, "X-Visitor": {"1"}, "X-Other": {"2"}, "X-All": {"3"}}}
	_, h := open(t, Options{}, b)
	w := get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["X-Visitor"], w.Header()["X-Other"], w.Header()["X-All"]); got != "[1] [2] [3]" {
		t.Errorf("the one who asked: %s", got)
	}
	w = get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["X-Visitor"], w.Header()["X-Other"], w.Header()["X-All"]); got != "[] [] [3]" {
		t.Errorf("the next: %s", got)
	}
}

// The suite's other-authorization fails on nginx, Traffic Server and Fastly.
func TestAuthorizationIsNotShared(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/", "Authorization", "Basic x")
	want(t, get(h, "http://a.example/"), 200, "answer 2")
	b = &backend{header: control("max-age=60, public")}
	_, h = open(t, Options{}, b)
	get(h, "http://a.example/", "Authorization", "Basic x")
	want(t, get(h, "http://a.example/"), 200, "answer 1")
}
