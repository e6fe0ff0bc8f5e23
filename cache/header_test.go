package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A middleware above adds to a header, and the next visitor gets it too.
func TestHeadersAreNotShared(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Link": {"<a>", "<b>"}, "X-One": {"1"}}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
		w.Header().Add("Link", "<mine>")
		w.Header().Add("X-One", "mine")
		w.Header()["X-Changed"] = []string{"mine"}
		w.Header()["Link"][0] = "changed"
	}
	w := get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["Link"], w.Header()["X-One"], w.Header()["X-Changed"]); got != "[<a> <b>] [1] []" {
		t.Errorf("got %s", got)
	}
}
