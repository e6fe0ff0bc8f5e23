package foretier_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
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

// TestWhatAPasswordOpensIsNotShared, whatever the backend says of it, with caches in front,
// one of the tier's own that somebody has put there among them.
func TestWhatAPasswordOpensIsNotShared(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=600, max-age=60")
		fmt.Fprint(w, "secret")
	}))
	defer app.Close()
	pool := must(balancer.New(balancer.Backends(app.URL), balancer.Options{}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	hash := must(bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost))
	staff := must(router.NewBasic(router.BasicOptions{Users: map[string]string{"ann": string(hash)}}))
	front := must(router.New(router.Options{Logger: slog.New(slog.DiscardHandler)},
		router.Rule{Name: "wrongly", When: router.Path("/wrongly"), To: pages.Handler(staff.Handler(pool))},
		router.Rule{Name: "staff", To: pages.Handler(pool), Use: []func(http.Handler) http.Handler{staff.Handler}}))
	for _, path := range []string{"/staff", "/wrongly"} {
		for i := range 6 {
			r := httptest.NewRequest("GET", "http://shop.example"+path, nil)
			knows := i%2 == 0
			if knows {
				r.SetBasicAuth("ann", "right")
			}
			w := httptest.NewRecorder()
			front.ServeHTTP(w, r)
			cc := w.Header().Get("Cache-Control")
			if knows && (w.Code != 200 || !strings.Contains(cc, "private") || strings.Contains(cc, "public") || strings.Contains(cc, "s-maxage")) {
				t.Errorf("%s: %d, caches are told %q", path, w.Code, cc)
			}
			if !knows && (w.Code != 401 || strings.Contains(w.Body.String(), "secret")) {
				t.Errorf("%s: a stranger gets %d %s", path, w.Code, w.Body)
			}
		}
	}
}
