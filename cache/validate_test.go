package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestNotModifiedIsSharedLikeAWholeAnswer: a 304 that carries what is one
// visitor's is given to the one who validated, and the others ask for
// themselves.
func TestNotModifiedIsSharedLikeAWholeAnswer(t *testing.T) {
	cases := map[string]http.Header{
		"a cookie":         {"Set-Cookie": {"sid=%d"}},
		"private":          {"Cache-Control": {"private, max-age=60"}, "X-Visitor": {"%d"}},
		"no-store":         {"Cache-Control": {"no-store"}, "X-Visitor": {"%d"}},
		"targeted":         {"Cdn-Cache-Control": {"no-store"}, "X-Visitor": {"%d"}},
		"varies on all":    {"Vary": {"*"}, "X-Visitor": {"%d"}},
		"a private field":  {"Cache-Control": {`max-age=60, private="X-Visitor"`}, "X-Visitor": {"%d"}},
		"a no-cache field": {"Cache-Control": {`max-age=60, no-cache="X-Visitor"`}, "X-Visitor": {"%d"}},
	}
	for name, fields := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
					w.Header().Set("Cache-Control", "max-age=10")
					w.Header().Set("Etag", `"a"`)
					time.Sleep(time.Second)
					if r.Header.Get("If-None-Match") == "" {
						io.WriteString(w, "page")
						return
					}
					for name, values := range fields {
						w.Header()[name] = []string{strings.ReplaceAll(values[0], "%d", fmt.Sprint(n))}
					}
					w.WriteHeader(304)
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Minute)
				var mu sync.Mutex
				given := make(map[string]int)
				ask := func() {
					w := get(h, "http://a.example/")
					want(t, w, 200, "page")
					mu.Lock()
					defer mu.Unlock()
					given[w.Header().Get("Set-Cookie")+w.Header().Get("X-Visitor")]++
				}
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(ask)
				}
				wg.Wait()
				ask()
				got := 0
				for visitor, n := range given {
					if visitor != "" && n != 1 {
						t.Errorf("%d got what was %q's", n, visitor)
					}
					if visitor != "" {
						got++
					}
				}
				if got == 0 {
					t.Errorf("nobody got what the 304 said: %v", given)
				}
			})
		})
	}
}

// TestTrailersAreForOne: they come after the answer was judged.
func TestTrailersAreForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			io.WriteString(w, "body")
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
			w.Header().Set(http.TrailerPrefix+"Set-Cookie", "sid=1")
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		var mu sync.Mutex
		with := 0
		for range 3 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
				mu.Lock()
				defer mu.Unlock()
				if w.Header()[http.TrailerPrefix+"Set-Cookie"] != nil || w.Result().Trailer["Set-Cookie"] != nil {
					with++
				}
			})
		}
		wg.Wait()
		if with != 1 {
			t.Errorf("%d of 3 got the trailer, want 1", with)
		}
	})
}
