package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/foretier/foretier/router"
)

// named is a handler that answers with its name.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
}

// A tenth of the visitors see the new shop, and go on seeing it: a cookie says so.
func ExampleNewSplit() {
	split, err := router.NewSplit("release", router.Arm{Name: "new", Weight: 10, To: named("new")}, router.Arm{Name: "old", Weight: 90, To: named("old")})
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: split})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "release", Value: "new"}) // who has seen it before
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: new
}

// A copy of each request for a server that is tried out, whose answers nobody sees. It is
// mirrored while Run runs, among what edge's server has in its background.
func ExampleNewMirror() {
	mirror := router.NewMirror(named("tried out"))
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: named("shop"),
		Use: []func(http.Handler) http.Handler{mirror.Handler}})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Body)
	// Output: shop
}

// A shop that nobody is to see yet. The hashes are those of an .htpasswd file, as
// "htpasswd -B" writes it.
func ExampleNewBasic() {
	users, err := router.ParseHtpasswd([]byte("ann:$2y$05$H2nJwBEjcvYXu2lx3Oac8ePZDqhNUBWFJEhDJrLWOzPdyjkyVBAWS\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	staging, err := router.NewBasic(router.BasicOptions{Realm: "Staging", Users: users})
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: named("shop"),
		Use: []func(http.Handler) http.Handler{staging.Handler}})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("GET", "https://staging.shop.example/", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Basic realm="Staging", charset="UTF-8"
}

// Who may ask for what: an office's network, and others as often as a person does.
func ExampleRule() {
	office := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	front, err := router.New(router.Options{},
		router.Rule{Name: "reports", When: router.Path("/reports/*"), Allow: office, Timeouts: router.Timeouts{Header: 5 * time.Minute}, To: named("reports")},
		router.Rule{Name: "login", When: router.All(router.Method("POST"), router.Path("/login")), Limit: router.Limit{Rate: 0.1, Burst: 2}, MaxBody: 4 << 10, To: named("login")},
		router.Rule{Name: "shop", To: named("shop")},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "/reports/2026", nil),
		httptest.NewRequest("POST", "/login", nil),
		httptest.NewRequest("POST", "/login", nil),
		httptest.NewRequest("POST", "/login", nil),
	} {
		r.RemoteAddr = "203.0.113.9:1024"
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Println(r.Method, r.URL, w.Code, w.Header()["Retry-After"])
	}
	// Output:
	// GET /reports/2026 403 []
	// POST /login 200 []
	// POST /login 200 []
	// POST /login 429 [10]
}

// Maintenance, while it serves: those who work on the shop are let through. A table that
// breaks what the first one has claimed is refused, and the old one stays.
func ExampleRouter_Update() {
	admin, origin := router.Admin("/admin"), named("origin")
	rules := []router.Rule{
		{Name: "admin", When: admin, To: origin},
		{Name: "shop", To: named("shop")},
	}
	front, err := router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}}, rules...)
	if err != nil {
		fmt.Println(err)
		return
	}
	closed := router.Rule{Name: "maintenance", When: router.Not(router.Client(netip.MustParsePrefix("10.0.0.0/8"))), To: router.Maintenance(10 * time.Minute)}
	if err := front.Update(append([]router.Rule{closed}, rules...)...); err != nil {
		fmt.Println(err)
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code, w.Header().Get("Retry-After"))

	err = front.Update(rules[1]) // admin's rule is forgotten
	fmt.Println(strings.Contains(fmt.Sprint(err), "admin"))
	// Output:
	// 503 600
	// true
}

// What is proved is what no request can break, whoever thinks of it.
func ExampleRouter_Prove() {
	admin, origin := router.Admin("/admin"), named("origin")
	front, err := router.New(router.Options{},
		router.Rule{Name: "preview", When: router.Cookie("preview"), To: named("preview")}, // comes first
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "shop", To: named("shop")},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = front.Prove(router.Only(origin).For(admin))
	fmt.Println(strings.Contains(fmt.Sprint(err), "preview"))
	// Output: true
}

// Hosts, clients and cookies, and a function where nothing else says it.
func ExampleHost() {
	weekend := router.Test("weekend", func(r *http.Request) bool { return r.Header.Get("X-Day") == "sunday" })
	front, err := router.New(router.Options{},
		router.Rule{Name: "api", When: router.Host("api.shop.example"), To: named("api")},
		router.Rule{Name: "old names", When: router.Host("*.old.example", "shop.example"), To: router.Redirect(308, "https://www.shop.example{path}{query}")},
		router.Rule{Name: "beta", When: router.Any(router.Cookie("beta", "1"), router.All(router.Client(netip.MustParsePrefix("10.0.0.0/8")), weekend)), To: named("beta")},
		router.Rule{Name: "shop", To: named("shop")},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, url := range []string{"https://api.shop.example/v1", "https://shop.example/p?q=1", "https://www.shop.example/p"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		fmt.Println(url, "->", w.Body.String()+w.Header().Get("Location"))
	}
	// Output:
	// https://api.shop.example/v1 -> api
	// https://shop.example/p?q=1 -> https://www.shop.example/p?q=1
	// https://www.shop.example/p -> shop
}
