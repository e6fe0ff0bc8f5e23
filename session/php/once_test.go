package php_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/router"
)

// However many rules ask, and however many readings the path has, the session is
// read once a request.
func TestSessionIsReadOnceARequest(t *testing.T) {
	source := &one{data: `user|s:1:"a";`}
	visitors := reader(t, source)
	to := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	rt, err := router.New(router.Options{},
		router.Rule{Name: "cart", When: router.All(router.Path("/cart/*"), router.Test("member", visitors.Has("member", "cart"))), To: to},
		router.Rule{Name: "member", When: router.All(router.Test("member", visitors.Has("member", "cart")), router.Not(router.Path("/x"))), To: to},
		router.Rule{Name: "rest", To: to})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/cart/a;b//%2561/../c", nil)
	r.Header.Set("Cookie", "PHPSESSID="+sid)
	rt.ServeHTTP(httptest.NewRecorder(), r)
	if source.read != 1 {
		t.Errorf("read %d times", source.read)
	}
	if visitors.Has("cart")(r) || !visitors.Has("user")(r) {
		t.Error("tests of different paths are one")
	}
}
