package router_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/foretier/foretier/router"
)

func TestAnswers(t *testing.T) {
	office := netip.MustParsePrefix("10.0.0.0/8")
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: router.NotAuthority("web0")},
		router.Rule{Name: "moved", When: router.Path("/p/{id}"), To: router.Redirect(301, "/product/{id}{query}")},
		router.Rule{Name: "www", When: router.Host("old.example"), To: router.Redirect(308, "https://new.example{path}{query}")},
		router.Rule{Name: "local", When: router.Path("/local/*"), To: router.Redirect(302, "{path}")},
		router.Rule{Name: "maintenance", When: router.Not(router.Client(office)), To: router.Maintenance(90*time.Second + 1)},
		router.Rule{Name: "shop", To: say("shop")},
	)
	for name, c := range map[string]struct {
		target, host, client string
		status               int
		field, want          string
	}{
		"not the authority": {target: "/admin", status: 403, field: "X-Refused", want: "this server is not the authority for this page; ask web0"},
		"redirect":          {target: "/p/a%3Fb?c", status: 301, field: "Location", want: "/product/a%3Fb?c"},
		"host":              {target: "/a%2fb?c", host: "old.example", status: 308, field: "Location", want: "https://new.example/a%2fb?c"},
		"host, raw bytes":   {target: "/a%2Fb{c}%7e?q=100%&x={y};z", host: "old.example", status: 308, field: "Location", want: "https://new.example/a%2Fb%7Bc%7D%7e?q=100%&x=%7By%7D;z"},
		"host, a mark":      {target: "/a?", host: "old.example", status: 308, field: "Location", want: "https://new.example/a?"},
		"parameter":         {target: "/p/it's(a):b?", status: 301, field: "Location", want: "/product/it's(a):b?"},
		"host, authority":   {target: "//evil.example/", host: "old.example", status: 308, field: "Location", want: "https://new.example/evil.example/"},
		"maintenance":       {target: "/", client: "192.0.2.1:1", status: 503, field: "Retry-After", want: "91"},
		"let through":       {target: "/", client: "10.0.0.1:1", status: 200},
	} {
		r := request("GET", c.target)
		if c.host != "" {
			r.Host = c.host
		}
		if c.client != "" {
			r.RemoteAddr = c.client
		}
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.status || c.field != "" && w.Header().Get(c.field) != c.want {
			t.Errorf("%s: got %d %v", name, w.Code, w.Header())
		}
	}
	for _, bad := range []http.Handler{router.Redirect(200, "/"), router.Redirect(301, "x"), router.Redirect(301, "")} {
		if _, err := router.New(router.Options{}, router.Rule{Name: "x", To: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: say("origin"), Use: []func(http.Handler) http.Handler{router.SameOrigin()}},
		router.Rule{Name: "shop", To: say("shop")})
	for _, c := range []struct {
		method, path, site string
		want               int
	}{
		{"POST", "/admin", "cross-site", 403},
		{"POST", "/admin", "same-origin", 200},
		{"GET", "/admin", "cross-site", 200},
		{"POST", "/payment/return", "cross-site", 200},
	} {
		r := request(c.method, c.path)
		r.Header.Set("Sec-Fetch-Site", c.site)
		if told, _ := foretold(rt.Explain(r)); (told == "403") != (c.want == 403) {
			t.Errorf("%s %s %s: explained was %s, want %d", c.method, c.path, c.site, told, c.want)
		}
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %s %s: got %d, want %d", c.method, c.path, c.site, w.Code, c.want)
		}
	}
}
