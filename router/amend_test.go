package router_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
)

func answers(t *testing.T, opts router.AnswerOptions) *router.Answers {
	t.Helper()
	a, err := router.NewAnswers(opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// amended returns the header of an answer to a request of shop.example.
func amended(a *router.Answers, header http.Header) http.Header {
	h := a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(302)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/shop/x", nil))
	return w.Header()
}

func TestAddressesOfBackends(t *testing.T) {
	based := router.AnswerOptions{Hosts: []string{"app.internal", "10.0.0.1:8080", "[::1]:81"}, From: "/app", To: "/shop/"}
	root := router.AnswerOptions{Hosts: []string{"App.Internal."}, To: "/blog"}
	bare := router.AnswerOptions{From: "/app"}
	for _, c := range []struct {
		opts      router.AnswerOptions
		ref, want string
	}{
		{based, "/app/cart?x=/app#/app", "/shop/cart?x=/app#/app"},
		{based, "/app", "/shop/"},
		{based, "/app?x", "/shop/?x"},
		{based, "/apple", "/apple"},
		{based, "/other", "/other"},
		{based, "cart", "cart"},
		{based, "../app/cart", "../app/cart"},
		{based, "", ""},
		{based, "http://app.internal/app/cart", "/shop/cart"},
		{based, "https://APP.internal:8443/app/%2F%7e", "/shop/%2F%7e"},
		{based, "//app.internal/app/x", "/shop/x"},
		{based, "http://user:pw@app.internal/x", "/x"},
		{based, "http://app.internal", "/"},
		{based, "http://app.internal?x", "/?x"},
		{based, "http://10.0.0.1:8080/app/", "/shop/"},
		{based, "http://10.0.0.1/app/", "http://10.0.0.1/app/"},
		{based, "http://[::1]:81/app/", "/shop/"},
		{based, "http://shop.example/app/x", "http://shop.example/shop/x"},
		{based, "https://shop.example:443/app/x", "https://shop.example:443/shop/x"},
		{based, "http://other.example/app/x", "http://other.example/app/x"},
		{based, "http://app.internal@other.example/app/x", "http://app.internal@other.example/app/x"},
		{based, "http://app.internal.other.example/app/x", "http://app.internal.other.example/app/x"},
		{based, "mailto:x@app.internal", "mailto:x@app.internal"},
		{based, "ftp://app.internal/app", "ftp://app.internal/app"},
		// What is left must be no address on another host.
		{based, "http://app.internal//evil.example/x", "/evil.example/x"},
		{based, `http://app.internal/\evil.example/x`, "/evil.example/x"},
		{based, "http://app.internal/\t/evil.example/x", "/evil.example/x"},
		{based, `http://app.internal\evil.example/x`, `http://app.internal\evil.example/x`},
		{bare, "/app//evil.example", "/evil.example"},
		{bare, `/app/\evil.example`, "/evil.example"},
		{bare, "/app", "/"},
		{root, "/", "/blog/"},
		{root, "/a", "/blog/a"},
		{root, "http://app.internal/a", "/blog/a"},
		{root, "http://shop.example/a", "http://shop.example/blog/a"},
	} {
		a := answers(t, c.opts)
		got := amended(a, http.Header{"Location": {c.ref}, "Content-Location": {c.ref}, "Refresh": {"5; URL=" + c.ref}})
		if got.Get("Location") != c.want || got.Get("Content-Location") != c.want || got.Get("Refresh") != "5; URL="+c.want {
			t.Errorf("%q: got %v, want %q", c.ref, got, c.want)
		}
	}
	a := answers(t, based)
	if got := amended(a, http.Header{"Refresh": {`0;url="/app/x"`}}).Get("Refresh"); got != "0;url=/shop/x" {
		t.Errorf("in quotes: %q", got)
	}
	two := http.Header{"Location": {"/app/a", "/app/b"}, "Refresh": {"7"}}
	if got := amended(a, two); !reflect.DeepEqual(got["Location"], two["Location"]) || got.Get("Refresh") != "7" {
		t.Errorf("what means nothing is changed: %v", got)
	}
}

func TestCookiesOfBackends(t *testing.T) {
	based := router.AnswerOptions{Hosts: []string{"app.internal:8080"}, From: "/app", To: "/shop"}
	for _, c := range []struct {
		opts       router.AnswerOptions
		line, want string
	}{
		{based, "a=b", "a=b"},
		{based, "a=b; Path=/app; HttpOnly", "a=b; Path=/shop; HttpOnly"},
		{based, "a=b;path = /app/x ;Secure", "a=b; Path=/shop/x;Secure"},
		{based, "a=b; Path=/", "a=b; Path=/"},
		{based, "a=b; Path=/apple", "a=b; Path=/apple"},
		{based, "a=/app; x; Path=/app/", "a=/app; x; Path=/shop"},
		{based, "a=b; Domain=app.internal", "a=b; Domain=app.internal"}, // on another port it is another's
		{based, "__Host-a=b; Secure; Path=/app", "__Host-a=b; Secure; Path=/app"},
		{router.AnswerOptions{Hosts: []string{"app.internal"}}, "a=b; Domain=.App.internal; Path=/x", "a=b; Path=/x"},
		{router.AnswerOptions{Hosts: []string{"app.internal"}}, "a=b; domain=shop.example", "a=b; domain=shop.example"},
		{router.AnswerOptions{To: "/blog"}, "a=b; Path=/", "a=b; Path=/blog"},
		{router.AnswerOptions{To: "/blog"}, "__host-a=b; Path=/", "__host-a=b; Path=/"},
		{router.AnswerOptions{From: "/app"}, "a=b; Path=/app", "a=b; Path=/"},
	} {
		if got := amended(answers(t, c.opts), http.Header{"Set-Cookie": {c.line, "x=y"}})["Set-Cookie"]; len(got) != 2 || got[0] != c.want || got[1] != "x=y" {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}

// An owner has a cookie of its own, as a pool with sticky visitors has.
type owner struct{ http.Handler }

func (owner) OwnsCookie(name string) bool { return name == "pin" }

func TestTheTiersOwnCookiesStay(t *testing.T) {
	h := answers(t, router.AnswerOptions{To: "/blog"}).Handler(wrapping{owner{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"pin=1; Path=/", "a=1; Path=/"}
	})}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("GET", "/"))
	if got := w.Header()["Set-Cookie"]; !reflect.DeepEqual(got, []string{"pin=1; Path=/", "a=1; Path=/blog"}) {
		t.Errorf("got %q", got)
	}
}

func TestHeaderRules(t *testing.T) {
	called := 0
	a := answers(t, router.AnswerOptions{
		Delete: []string{"server", "x-debug-*", "X-Set"},
		Set:    http.Header{"x-set": {"1"}, "X-Robots-Tag": {"noindex", "nofollow"}},
		Add:    http.Header{"Link": {"</b>"}},
		Change: func(r *http.Request, status int, h http.Header) {
			called++
			h.Set("X-Status", http.StatusText(status)+" "+r.URL.Path)
			delete(h, "X-Gone")
		},
	})
	got := amended(a, http.Header{"Server": {"x"}, "X-Debug-Id": {"7"}, "X-Debug": {"8"}, "X-Set": {"0", "0"}, "Link": {"</a>"}, "X-Gone": {"1"}})
	want := http.Header{"X-Debug": {"8"}, "X-Set": {"1"}, "X-Robots-Tag": {"noindex", "nofollow"}, "Link": {"</a>", "</b>"}, "X-Status": {"Found /shop/x"}}
	if !reflect.DeepEqual(got, want) || called != 1 {
		t.Errorf("got %v, called %d times", got, called)
	}
	// However a handler answers, and whatever it adds to its header afterwards.
	for name, h := range map[string]http.HandlerFunc{
		"not at all": func(http.ResponseWriter, *http.Request) {},
		"a body":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")); _, _ = w.Write([]byte("x")) },
		"a flush":    func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() },
		"hints": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			if w.Header().Get("X-Set") != "" {
				t.Error("hints are changed")
			}
			w.WriteHeader(404)
		},
	} {
		called = 0
		w := httptest.NewRecorder()
		a.Handler(h).ServeHTTP(w, request("GET", "/"))
		if w.Header().Get("X-Set") != "1" || called != 1 || len(w.Header()["Link"]) != 1 {
			t.Errorf("%s: got %v, called %d times", name, w.Header(), called)
		}
	}
	if again := amended(a, nil); len(again["Link"]) != 1 || len(again["X-Robots-Tag"]) != 2 {
		t.Errorf("options have changed: %v", again)
	}
}

func TestHeaderRulesOfAnUpgrade(t *testing.T) {
	a := answers(t, router.AnswerOptions{Set: http.Header{"X-Set": {"1"}}})
	srv := httptest.NewServer(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nX-Set: " + w.Header().Get("X-Set") + "\r\n\r\n")
		rw.Flush()
	})))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.Header.Get("X-Set") != "1" {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for want, opts := range map[string]router.AnswerOptions{
		`"http://app" is no host`:        {Hosts: []string{"http://app"}},
		`"" is no host`:                  {Hosts: []string{""}},
		`"app" is no base path`:          {From: "app"},
		`"/a/../b" is no base path`:      {To: "/a/../b"},
		`Delete: "*" is no name`:         {Delete: []string{"*"}},
		`Delete: "X Y" is no name`:       {Delete: []string{"X Y"}},
		`Set: "X:" is no name`:           {Set: http.Header{"X:": {"1"}}},
		"Set: X has no value":            {Set: http.Header{"X": nil}},
		"want it in Add":                 {Set: http.Header{"set-cookie": {"a=b"}}},
		"Connection is for the tier":     {Set: http.Header{"connection": {"close"}}},
		"Content-Length is for the tier": {Add: http.Header{"Content-Length": {"1"}}},
		`Add: X cannot be "a\r\nb"`:      {Add: http.Header{"X": {"a\r\nb"}}},
	} {
		if _, err := router.NewAnswers(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAnswersAreSeenThrough(t *testing.T) {
	a := answers(t, router.AnswerOptions{Set: http.Header{"X": {"1"}}})
	pages, err := router.NewErrorPages(map[int][]byte{404: []byte("x"), 503: nil})
	if err != nil {
		t.Fatal(err)
	}
	origin, apps := newPool("origin"), newPool("apps")
	rt := mustNew(t, router.Rule{Name: "admin", When: router.Admin("/admin"), To: a.Handler(origin)},
		router.Rule{Name: "shop", To: wrapping{a.Handler(apps)}, Use: []use{a.Handler, pages.Handler}})
	if err := rt.Prove(router.Only(origin).For(router.Admin("/admin"))); err != nil {
		t.Error(err)
	}
	d := rt.Explain(request("GET", "/")).String()
	for _, part := range []string{"answers: header changed", "error pages: 404 503"} {
		if !strings.Contains(d, part) {
			t.Errorf("%s is not in %s", part, d)
		}
	}
	if !health.Healthy(rt, request("GET", "/")) {
		t.Error("not healthy")
	}
}

// browsed returns the host to which a browser at shop.example follows a reference (WHATWG
// URL, section 4.4, for http and https): tabs go, backslashes are slashes, and any number
// of slashes begins an authority behind a scheme.
func browsed(ref string) string {
	ref = strings.ReplaceAll(strings.ReplaceAll(strings.Trim(ref, " \t"), "\t", ""), `\`, "/")
	ref, _, _ = strings.Cut(ref, "#")
	lower := strings.ToLower(ref)
	rest, found := "", false
	for _, scheme := range []string{"http:/", "https:/"} {
		if strings.HasPrefix(lower, scheme) {
			rest, found = strings.TrimLeft(ref[len(scheme):], "/"), true
		}
	}
	if !found && strings.HasPrefix(ref, "//") {
		rest, found = strings.TrimLeft(ref, "/"), true
	}
	if !found {
		return "shop.example"
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(rest, ":80"), "."))
}

// What is changed of an address leads to the tier, whatever a browser makes of it.
func TestAddressesLeadNowhereElse(t *testing.T) {
	parts := []string{"/", "/", `\`, "\t", " ", "http:", "https:", "//", "app.internal", "shop.example", "evil.example", "/app", "/app/", "x", "@", ":80", "?", "#", "..", "."}
	rnd := newCorpus()
	changed := 0
	for _, opts := range []router.AnswerOptions{
		{Hosts: []string{"app.internal"}}, {Hosts: []string{"app.internal"}, From: "/app"}, {From: "/app"}, {From: "/app", To: "/shop"}, {To: "/shop", Hosts: []string{"app.internal"}},
	} {
		a := answers(t, opts)
		for range 6000 {
			ref := ""
			for range 1 + rnd.IntN(7) {
				ref += pick(rnd, parts...)
			}
			got := amended(a, http.Header{"Location": {ref}}).Get("Location")
			if got == ref {
				continue
			}
			changed++
			if to := browsed(got); to != "shop.example" {
				t.Errorf("%q of %s becomes %q of %s", ref, browsed(ref), got, to)
			}
		}
	}
	if changed < 500 {
		t.Errorf("%d were changed", changed)
	}
}
