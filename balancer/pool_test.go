package balancer

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestServesInTurn(t *testing.T) {
	servedBy := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Served-By", name) })
	}
	a, b := httptest.NewServer(servedBy("a")), httptest.NewServer(servedBy("b"))
	defer a.Close()
	defer b.Close()
	pool, err := New(Backends(a.URL, b.URL), Options{Policy: RoundRobin()})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	front := httptest.NewServer(pool)
	defer front.Close()
	got := ""
	for range 4 {
		res, err := http.Get(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got += res.Header.Get("X-Served-By")
	}
	if got != "abab" {
		t.Errorf("got %q, want abab", got)
	}
}
