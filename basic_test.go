package foretier_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router"
)

// TestABackendIsToldWhoHasLoggedIn without an edge in front, too, and of nobody else.
func TestABackendIsToldWhoHasLoggedIn(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q", r.Header["X-Remote-User"], r.Header["X-Remote-Email"])
	}))
	defer app.Close()
	pool := must(balancer.New(balancer.Backends(app.URL), balancer.Options{}))
	defer pool.Close()
	hash := must(bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost))
	staff := must(router.NewBasic(router.BasicOptions{Users: map[string]string{"ann": string(hash)}, Header: "X-Remote-User"}))
	front := must(router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "staff", When: router.Path("/staff"), To: pool, Use: []func(http.Handler) http.Handler{staff.Handler}},
		router.Rule{Name: "rest", To: pool}))
	for path, want := range map[string]string{"/staff": `["ann"] []`, "/": "[] []"} {
		r := httptest.NewRequest("GET", "http://shop.example"+path, nil)
		r.SetBasicAuth("ann", "right")
		r.Header.Set("X-Remote-User", "root")
		r.Header.Set("X-Remote-Email", "root@shop.example")
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}
