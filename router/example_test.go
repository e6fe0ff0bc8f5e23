package router_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/rs/cors"

	"github.com/foretier/foretier/router"
)

func Example() {
	server := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) })
	}
	origin, apps := server("origin"), server("apps")

	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin", "/cron.php"), To: origin},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: origin},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: router.Fallback(apps, origin)},
		router.Rule{Name: "shop", To: apps},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range []string{"/product/1", "/%61dmin", "//admin", "/index.php/admin", "/product/../ADMIN;x", "/administrator"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Println(target, "->", w.Body)
	}
	// Output:
	// /product/1 -> apps
	// /%61dmin -> origin
	// //admin -> origin
	// /index.php/admin -> origin
	// /product/../ADMIN;x -> origin
	// /administrator -> apps
}

func ExampleRouter_Explain() {
	answer := http.NotFoundHandler()
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: answer},
		router.Rule{Name: "shop", To: answer},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(front.Explain(httptest.NewRequest("GET", "/shop/../admin", nil)))
	// Output:
	// router: rule "admin" (Admin("/admin") matches /admin)
	//   handler: called (http.HandlerFunc does not explain itself)
}

// A preview for editors, by a parameter, and pictures from a server of their own,
// wherever they are.
func ExampleQuery() {
	server := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) })
	}
	front, err := router.New(router.Options{},
		router.Rule{Name: "http", When: router.Not(router.Scheme("https")), To: router.Redirect(308, "https://shop.example{path}{query}")},
		router.Rule{Name: "preview", When: router.Query("preview", "1"), To: server("preview")},
		router.Rule{Name: "bots", When: router.HeaderContains("User-Agent", "bot", "crawler"), To: server("bots")},
		router.Rule{Name: "pictures", When: router.PathSuffix(".png", ".webp"), To: server("pictures")},
		router.Rule{Name: "shop", To: server("shop")},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range []string{"https://shop.example/p?preview=1", "https://shop.example/p/a.png?v=2", "https://shop.example/p", "http://shop.example/p?q"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Println(target, "->", w.Body.String()+w.Header().Get("Location"))
	}
	// Output:
	// https://shop.example/p?preview=1 -> preview
	// https://shop.example/p/a.png?v=2 -> pictures
	// https://shop.example/p -> shop
	// http://shop.example/p?q -> https://shop.example/p?q
}

// An application that knows nothing of the path under which the tier shows it. What
// becomes of paths is proved like what rules say.
func ExampleStripPrefix() {
	blog := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.RequestURI()) })
	admin, origin := router.Admin("/admin"), http.NotFoundHandler()
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "blog", When: router.Path("/blog", "/blog/*"), To: blog,
			Use: []func(http.Handler) http.Handler{router.StripPrefix("/blog")}},
		router.Rule{Name: "rest", To: origin},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("GET", "/blog/caf%C3%A9?page=2", nil))
	fmt.Println(w.Body)
	fmt.Println(front.Prove(router.Only(origin).For(admin)) == nil) // /blog/admin becomes /admin
	// Output:
	// /caf%C3%A9?page=2
	// false
}

// An application that redirects to its own name and path, shown under another.
func ExampleNewAnswers() {
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Powered-By", "app/1.0")
		w.Header().Set("Set-Cookie", "sid=1; Path=/app")
		http.Redirect(w, r, "http://app.internal:8080/app/cart", http.StatusSeeOther)
	})
	answers, err := router.NewAnswers(router.AnswerOptions{
		Hosts: []string{"app.internal:8080"}, From: "/app", To: "/shop",
		Delete: []string{"X-Powered-By"},
		Set:    http.Header{"Referrer-Policy": {"same-origin"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	answers.Handler(app).ServeHTTP(w, httptest.NewRequest("POST", "/shop/add", nil))
	for _, name := range []string{"Location", "Set-Cookie", "X-Powered-By", "Referrer-Policy"} {
		fmt.Printf("%s: %q\n", name, w.Header().Get(name))
	}
	// Output:
	// Location: "/shop/cart"
	// Set-Cookie: "sid=1; Path=/shop"
	// X-Powered-By: ""
	// Referrer-Policy: "same-origin"
}

// A page of one's own in place of what a backend says of what it has not got; JSON for
// those who ask for that.
func ExampleNewErrorPages() {
	pages, err := router.NewErrorPages(map[int][]byte{404: []byte("<h1>This page has moved to a better place</h1>\n"), 503: nil})
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: http.NotFoundHandler(),
		Use: []func(http.Handler) http.Handler{pages.Handler}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, accept := range []string{"text/html", "application/json"} {
		r := httptest.NewRequest("GET", "/old", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 404 <h1>This page has moved to a better place</h1>
	// 404 {"status":404,"error":"Not Found"}
}

// The service says by the session's cookie who asks, and with "Cache-Control: max-age=60"
// and "Vary: Cookie" for how long and that this is all it goes by.
func ExampleNewAsk() {
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := r.Cookie("session")
		if err != nil {
			w.Header().Set("Location", "https://login.example/?rd="+url.QueryEscape(r.Header.Get("X-Forwarded-Uri")))
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Remote-User", "user of "+session.Value)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Cookie")
		w.WriteHeader(http.StatusNoContent)
	})
	gate, err := router.NewAsk(service, router.AskOptions{Fields: []string{"Remote-User"}, Cookies: []string{"session"}})
	if err != nil {
		log.Fatal(err)
	}
	tools := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello, ", r.Header.Get("Remote-User")) })
	front, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "tools", To: tools, Use: []func(http.Handler) http.Handler{gate.Handler}})
	if err != nil {
		log.Fatal(err)
	}
	for _, cookie := range []string{"", "session=a1"} {
		r := httptest.NewRequest("GET", "https://tools.example/stock?page=2", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Location")+w.Body.String())
	}
	// Output:
	// 302 https://login.example/?rd=%2Fstock%3Fpage%3D2
	// 200 hello, user of a1
}

// What is counted is an API's key, whichever client shows it; who shows none is counted
// by address.
func ExampleByHeader() {
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	front, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "api", To: api, Limit: router.Limit{Rate: 0.1, Burst: 2, By: router.ByHeader("X-Api-Key")}})
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range []string{"a", "a", "a", "b"} {
		r := httptest.NewRequest("GET", "https://shop.example/api/stock", nil)
		r.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Println(key, w.Code, w.Header().Get("RateLimit-Policy"), w.Header().Get("RateLimit"))
	}
	// Output:
	// a 204 "api";q=2;w=20 "api";r=1;t=10
	// a 204 "api";q=2;w=20 "api";r=0;t=20
	// a 429 "api";q=2;w=20 "api";r=0;t=20
	// b 204 "api";q=2;w=20 "api";r=1;t=10
}

// A limit for each of the staff, behind who asks for their passwords.
func ExampleNewLimiter() {
	staff, err := router.NewBasic(router.BasicOptions{Header: "X-Remote-User"}) // and their hashes in Users
	if err != nil {
		log.Fatal(err)
	}
	exports, err := router.NewLimiter("exports", router.Limit{Rate: 1.0 / 60, Burst: 5, By: router.ByHeader("X-Remote-User")})
	if err != nil {
		log.Fatal(err)
	}
	_ = router.Rule{
		Name: "exports", When: router.Path("/export/*"), To: http.NotFoundHandler(),
		Use: []func(http.Handler) http.Handler{staff.Handler, exports.Handler},
	}
}

// A shop that nobody is to find yet: no search engine keeps a page, not even an error's,
// and who has no password sees none.
func ExampleNewAnswers_staging() {
	hidden, err := router.NewAnswers(router.AnswerOptions{Set: http.Header{"X-Robots-Tag": {"noindex, nofollow"}}})
	if err != nil {
		log.Fatal(err)
	}
	staff, err := router.NewBasic(router.BasicOptions{Realm: "Staging"}) // and hashes in Users
	if err != nil {
		log.Fatal(err)
	}
	shop := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "shop") })
	front, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "staging", When: router.Host("staging.shop.example"), To: shop, Use: []func(http.Handler) http.Handler{hidden.Handler, staff.Handler}},
		router.Rule{Name: "shop", To: shop})
	if err != nil {
		log.Fatal(err)
	}
	for _, host := range []string{"staging.shop.example", "shop.example"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", "https://"+host+"/", nil))
		fmt.Println(host, w.Code, w.Header().Get("X-Robots-Tag"))
	}
	// Output:
	// staging.shop.example 401 noindex, nofollow
	// shop.example 200
}

// Another site's scripts may use an API: any middleware does, here github.com/rs/cors,
// which answers preflights by itself and adds Vary: Origin, so that caches in front keep
// the answers apart. It stands above the tier's own cache, which stores them without.
func Example_cors() {
	partners := cors.New(cors.Options{AllowedOrigins: []string{"https://partner.example"}, AllowedMethods: []string{"GET", "PUT"}})
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "stock") })
	front, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "api", To: api, Use: []func(http.Handler) http.Handler{partners.Handler}})
	if err != nil {
		log.Fatal(err)
	}
	for _, origin := range []string{"https://partner.example", "https://other.example"} {
		r := httptest.NewRequest("OPTIONS", "https://shop.example/api/stock", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "PUT")
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// 204 "https://partner.example"
	// 204 ""
}
