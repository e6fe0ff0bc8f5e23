package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeadChangesNothing: what a HEAD brings may show what only that one sent,
// and says nothing that a GET would not say better.
func TestHeadChangesNothing(t *testing.T) {
	for name, change := range map[string]func(h http.Header){
		"what it reflects":   func(http.Header) {},
		"another body":       func(h http.Header) { h.Set("Etag", `"b"`) },
		"another length":     func(h http.Header) { h.Set("Content-Length", "1") },
		"no lifetime":        func(h http.Header) { h.Set("Cache-Control", "no-store") },
		"a longer lifetime":  func(h http.Header) { h.Set("Cache-Control", "max-age=3600") },
		"a cookie":           func(h http.Header) { h.Set("Set-Cookie", "sid=1") },
		"the page not there": func(h http.Header) { h.Set("X-Status", "410") },
	} {
		for _, age := range []time.Duration{time.Second, 15 * time.Second, time.Minute} { // fresh, in grace, stale
			t.Run(fmt.Sprint(name, age), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &backend{header: http.Header{"Cache-Control": {"max-age=10, stale-while-revalidate=20"}, "Etag": {`"a"`}}}
					b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
						w.Header().Set("X-Query", r.URL.RawQuery)
						if r.Method == "HEAD" {
							change(w.Header())
							if w.Header().Get("X-Status") != "" {
								w.WriteHeader(410)
							}
							return
						}
						if r.Header.Get("If-None-Match") != "" {
							w.WriteHeader(304)
							return
						}
						io.WriteString(w, "page")
					}
					_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
					get(h, "http://a.example/")
					time.Sleep(age)
					do(h, httptest.NewRequest("HEAD", "http://a.example/?utm_source=evil", nil))
					synctest.Wait()
					w := get(h, "http://a.example/")
					want(t, w, 200, "page")
					if w.Header().Get("X-Query") != "" || w.Header().Get("Etag") != `"a"` || w.Header().Get("Set-Cookie") != "" || !strings.HasPrefix(w.Header().Get("Cache-Control"), "max-age=10,") {
						t.Errorf("the page has what the HEAD brought: %v", w.Header())
					}
				})
			})
		}
	}
}

func TestPostThatIsAGet(t *testing.T) {
	for location, want := range map[string]string{
		"/x": "answer 2", "http://a.example/x": "answer 2", "": "answer 2",
		"/y": "answer 3", "http://b.example/x": "answer 3", "https://a.example/x": "answer 3",
	} {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Content-Location": {location}}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/x")
		do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
		if w := get(h, "http://a.example/x"); w.Body.String() != want {
			t.Errorf("Content-Location %q: got %s, want %s", location, w.Body, want)
		}
	}
}
