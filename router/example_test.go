package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

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
