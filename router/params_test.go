package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/router"
)

func TestParameters(t *testing.T) {
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s|%s", chi.URLParam(r, "id"), r.PathValue("id"), chi.URLParam(r, "*"), chi.URLParam(r, "lang"))
	})
	inner := chi.NewRouter()
	inner.Get("/c/{id}", show)
	rt := mustNew(t,
		router.Rule{Name: "p", When: router.All(router.Method("GET"), router.Path("/x", "/p/{id}")), To: show},
		router.Rule{Name: "m", When: router.Any(router.Path("/q"), router.Path("/m/*")), To: show},
		router.Rule{Name: "l", When: router.Path("/{lang}/p/{id}"), To: show},
		router.Rule{Name: "chi", To: inner},
	)
	outer := chi.NewRouter()
	outer.Mount("/", rt)
	outer.Handle("/{lang}/p/{id}", rt)
	for target, want := range map[string]string{
		"/p/7":    "7|7||",
		"/p/%37":  "7|7||",
		"/m/a/b":  "||a/b|",
		"/de/p/7": "7|7||de",
		"/c/8":    "8|8||",
	} {
		if got := get(rt, target).Body.String(); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
	if got := get(outer, "/de/p/7").Body.String(); !strings.HasPrefix(got, "7|7|") || !strings.HasSuffix(got, "|de") {
		t.Errorf("inside chi: got %q", got)
	}
}

// Mounted in chi, a router judges the whole path, and a chi router in one of
// its rules routes on what the mount left.
func TestChiAboveAndBelow(t *testing.T) {
	inner := chi.NewRouter()
	inner.Get("/p/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, chi.URLParam(r, "lang"), chi.URLParam(r, "id"), chi.URLParam(r, "rest"))
	})
	rt := mustNew(t,
		router.Rule{Name: "shop", When: router.Path("/{x}/{rest}/{y}"), To: inner},
		router.Rule{Name: "else", To: say("else")})
	outer := chi.NewRouter()
	outer.Mount("/{lang}", rt)
	if got := get(outer, "/de/p/7").Body.String(); got != "de7p" {
		t.Errorf("got %q", got)
	}
}

// TestPathValuesOfTheOneAbove: whoever calls a router with a request of its own finds that as
// it was, a [http.ServeMux] above it, too.
func TestPathValuesOfTheOneAbove(t *testing.T) {
	below := mustNew(t, router.Rule{Name: "in", When: router.Path("/{own}/{id}"), To: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.PathValue("own"), r.PathValue("id"), r.URL.Path, r.Header.Get("X-A"))
	})}, router.Rule{Name: "rest", To: http.NotFoundHandler()})
	mux := http.NewServeMux()
	mux.HandleFunc("/{own}/b", func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("more", "mine")
		below.ServeHTTP(w, r)
		if got := fmt.Sprint(r.PathValue("own"), r.PathValue("more"), r.PathValue("id")); got != "amine" {
			t.Errorf("afterwards it has %q", got)
		}
	})
	r := httptest.NewRequest("GET", "/%61/b", nil)
	r.Header.Set("X-A", "1")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if got := w.Body.String(); got != "ab/a/b1" {
		t.Errorf("got %q", got)
	}
}
