package router_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/foretier/foretier/router"
)

type nothing struct{}

func (nothing) ServeHTTP(http.ResponseWriter, *http.Request) {}

// twentyRules is a shop's table: the last of 20 takes ordinary pages.
func twentyRules(b *testing.B) *router.Router {
	to := nothing{}
	rules := []router.Rule{
		{Name: "admin", When: router.Admin("/admin", "/cron.php", "/setup"), To: to},
		{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: to},
		{Name: "media", When: router.Path("/media/*", "/static/*"), To: to},
		{Name: "beta", When: router.All(router.Host("beta.shop.example"), router.Not(router.Cookie("stable"))), To: to},
		{Name: "office", When: router.Client(netip.MustParsePrefix("10.0.0.0/8")), To: to},
		{Name: "api", When: router.Header("X-Api-Version", "2"), To: to},
		{Name: "product", When: router.Path("/product/{id:[0-9]+}"), To: to},
	}
	for i := range 12 {
		rules = append(rules, router.Rule{Name: fmt.Sprint("r", i), When: router.Path(fmt.Sprintf("/section-%d/*", i), fmt.Sprintf("/s%d", i)), To: to})
	}
	rules = append(rules, router.Rule{Name: "shop", To: to})
	return mustNew(b, rules...)
}

func BenchmarkRouter(b *testing.B) {
	rt := twentyRules(b)
	for name, target := range map[string]string{
		"plain":     "/blue-shoes/size-42?colour=blue",
		"parameter": "/product/4711",
		"wildcard":  "/media/a/b.png",
		"admin":     "/admin/orders",
		"encoded":   "/t%C3%BCr/100%25-wolle",
	} {
		b.Run(name, func(b *testing.B) {
			r := request("GET", target)
			r.RemoteAddr = "192.0.2.1:1234"
			r.Header.Set("Cookie", "session=abcdef; consent=1")
			var w discard
			b.ReportAllocs()
			for b.Loop() {
				rt.ServeHTTP(w, r)
			}
		})
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// BenchmarkLimit is a request of a rule with a Limit: by client, and by a key.
func BenchmarkLimit(b *testing.B) {
	for name, by := range map[string]router.LimitBy{"client": nil, "header": router.ByHeader("X-Api-Key")} {
		b.Run(name, func(b *testing.B) {
			rt := mustNew(b, router.Rule{Name: "api", To: nothing{}, Limit: router.Limit{Rate: 1e9, Burst: 1e6, By: by}})
			r := request("GET", "/api/stock")
			r.RemoteAddr = "192.0.2.1:1234"
			r.Header.Set("X-Api-Key", "0123456789abcdef")
			var w discard
			b.ReportAllocs()
			for b.Loop() {
				rt.ServeHTTP(w, r)
			}
		})
	}
}
