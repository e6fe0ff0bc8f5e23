package router_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/foretier/foretier/router"
)

// TestRuleName: whoever serves a rule's requests finds out which rule's they are.
func TestRuleName(t *testing.T) {
	var seen []string
	notes := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, router.RuleName(r.Context()))
			next.ServeHTTP(w, r)
		})
	}
	tells := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, router.RuleName(r.Context())) })
	inner := mustNew(t, router.Rule{Name: "all", To: tells})
	front := mustNew(t,
		router.Rule{Name: "media", When: router.Path("/media/*"), Use: []func(http.Handler) http.Handler{notes}, To: tells},
		router.Rule{Name: "shop", Use: []func(http.Handler) http.Handler{notes}, To: inner})
	for target, want := range map[string]string{"/media/1": "media", "/": "all"} {
		if got := get(front, target).Body.String(); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if len(seen) != 2 || seen[0]+seen[1] != "mediashop" && seen[0]+seen[1] != "shopmedia" {
		t.Errorf("middleware has seen %q", seen)
	}
	if got := router.RuleName(context.Background()); got != "" {
		t.Errorf("without a request: %q", got)
	}
}
