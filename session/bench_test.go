package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/session"
)

// nobody is a ResponseWriter that costs nothing.
type nobody struct{ h http.Header }

func (w nobody) Header() http.Header         { return w.h }
func (w nobody) Write(p []byte) (int, error) { return len(p), nil }
func (w nobody) WriteHeader(int)             {}

func bench(b *testing.B, next http.HandlerFunc, cookie string) {
	m, err := session.New(session.Memory(), session.Options{})
	if err != nil {
		b.Fatal(err)
	}
	h := m.Handler(next)
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	} else {
		w := httptest.NewRecorder()
		m.Handler(app()).ServeHTTP(w, httptest.NewRequest("POST", "https://shop.example/add?sku=tea", nil))
		r.AddCookie(w.Result().Cookies()[0])
	}
	w := nobody{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkUnused is a request that does not use its session.
func BenchmarkUnused(b *testing.B) {
	bench(b, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"_ga=GA1.2.3; __Host-sid=abcdefghijklmnopqrstuvwxabcdefghijklmnopqrstuvwx; theme=dark")
}

func BenchmarkRead(b *testing.B) {
	bench(b, func(_ http.ResponseWriter, r *http.Request) {
		if _, ok, err := session.Value[map[string]int](session.From(r.Context()), "cart"); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}, "")
}

func BenchmarkUpdate(b *testing.B) {
	bench(b, func(_ http.ResponseWriter, r *http.Request) {
		if err := add(session.From(r.Context()), "tea"); err != nil {
			b.Fatal(err)
		}
	}, "")
}

func BenchmarkStickyChoose(b *testing.B) {
	s, err := session.NewSticky(oneKey, session.StickyOptions{})
	if err != nil {
		b.Fatal(err)
	}
	r := request("GET", bound(s))
	b.ReportAllocs()
	for b.Loop() {
		if name, _ := s.Choose(r); name != "web1" {
			b.Fatal(name)
		}
	}
}

// TestUnusedAllocates: a request that uses no session costs two allocations.
func TestUnusedAllocates(t *testing.T) {
	h := manager(t, session.Memory(), session.Options{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.Header.Set("Cookie", "a=1; __Host-sid=x; b.c=2")
	w := nobody{http.Header{}}
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("%v allocations, want at most 2", n)
	}
}
