package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/router"
)

// A handler that knows nothing of this package, such as a ReverseProxy of the
// user's own, asks the URL's methods: what they say is the target as sent, too.
func TestHandlersSeeTheTargetAsSent(t *testing.T) {
	rt := mustNew(t,
		router.Rule{Name: "media", When: router.Path("/media/*"), To: http.HandlerFunc(echo)},
		router.Rule{Name: "shop", To: http.HandlerFunc(echo)},
	)
	for sent, want := range map[string]string{
		"/a%2Fb{c}":              "/a%2Fb%7Bc%7D",
		"/media/a%2Fb{c}?q=100%": "/media/a%2Fb%7Bc%7D?q=100%",
		"/it's(a)%7e?a;b":        "/it's(a)%7e?a;b",
		// Its readings fall under two rules: the canonical path goes on, and
		// nothing in that is escaped but what must be.
		"/x/../media//it's(a){b}%25": "/media/it's(a)%7Bb%7D%25",
	} {
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, request("GET", sent))
		if got := w.Body.String(); got != want {
			t.Errorf("%s: got %q, want %q", sent, got, want)
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.RequestURI()) }
