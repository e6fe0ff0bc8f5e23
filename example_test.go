package foretier_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
)

// A tier in front of servers that are handlers in the same process, as in a
// user's own tests: no sockets. Against real servers the backends have URLs,
// and edge.New listens in front: see examples/quickstart.
func Example() {
	admin := router.Admin("/admin")
	origin := must(balancer.New([]balancer.Backend{{Name: "web0", Handler: shop("web0")}}, balancer.Options{}))
	apps := must(balancer.New([]balancer.Backend{{Name: "web1", Handler: shop("web1")}}, balancer.Options{Refuse: admin}))
	pages := must(cache.New(cache.Options{MaxBytes: 16 << 20}))
	front := must(router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "shop", To: pages.Handler(apps)},
	))
	for _, path := range []string{"/", "/", "/admin", "//%61dmin", "/index.php/admin"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example"+path, nil))
		fmt.Printf("%s: %s\n", path, w.Body)
	}
	// Output:
	// /: web1 renders page 1
	// /: web1 renders page 1
	// /admin: web0 renders page 1
	// //%61dmin: web0 renders page 2
	// /index.php/admin: web0 renders page 3
}

// shop returns an application whose pages may be shared for a minute.
func shop(name string) http.Handler {
	rendered := 0
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rendered++
		w.Header().Set("Cache-Control", "public, s-maxage=60")
		fmt.Fprintf(w, "%s renders page %d", name, rendered)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
