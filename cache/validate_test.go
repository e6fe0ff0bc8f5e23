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

// TestAnyValidationConfirmsThePage: a 304 says that what is stored is as it
// was, whoever asked, and nobody's request throws a page away.
func TestAnyValidationConfirmsThePage(t *testing.T) {
	type header = map[string]string
	cases := map[string]struct {
		method  string
		request header
		answer  header // of the 304
		calls   int32  // in all, with an anonymous GET behind it
	}{
		"GET":                         {"GET", nil, nil, 2},
		"HEAD":                        {"HEAD", nil, nil, 2}, // in grace: refreshed by GET
		"orders":                      {"GET", header{"Cache-Control": "no-cache, no-store"}, nil, 2},
		"no-store":                    {"GET", header{"Cache-Control": "no-store"}, nil, 2},
		"Pragma":                      {"GET", header{"Pragma": "no-cache"}, nil, 2},
		"a cookie":                    {"GET", header{"Cookie": "sid=1"}, nil, 2},
		"a login":                     {"GET", header{"Authorization": "Basic eDp5"}, nil, 3}, // does not fit: fetched by itself
		"HEAD with orders":            {"HEAD", header{"Cache-Control": "no-cache, no-store, only-if-cached", "Cookie": "sid=1"}, nil, 2},
		"a cookie, and a new one":     {"GET", header{"Cookie": "sid=1"}, header{"Set-Cookie": "sid=2"}, 2},
		"a cookie, and another's":     {"GET", header{"Cookie": "sid=1"}, header{"X-Visitor": "1"}, 2},
		"a cookie, and private":       {"GET", header{"Cookie": "sid=1"}, header{"Cache-Control": "private"}, 3},
		"a cookie, and no-store":      {"GET", header{"Cookie": "sid=1"}, header{"Cache-Control": "no-store"}, 3},
		"a cookie, and no lifetime":   {"GET", header{"Cookie": "sid=1"}, header{"Cache-Control": "max-age=0"}, 3},
		"nobody, and another Vary":    {"GET", nil, header{"Vary": "Accept"}, 2},
		"nobody, and private":         {"GET", nil, header{"Cache-Control": "private"}, 3},
		"nobody, and a cookie for it": {"GET", nil, header{"Set-Cookie": "sid=2"}, 2},
	}
	for i := range 4 {
		grace, opts := i&1 != 0, Options{}
		if i&2 != 0 {
			opts.Orders = everybody
		}
		for name, c := range cases {
			if c.method == "HEAD" && !grace {
				continue // goes by
			}
			t.Run(fmt.Sprint(name, ", in grace: ", grace, ", obeyed: ", i&2 != 0), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
						w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=30")
						w.Header().Set("Etag", `"a"`)
						w.Header().Set("Cache-Tag", "page")
						if r.Header.Get("If-None-Match") == "" {
							io.WriteString(w, "page")
							return
						}
						w.Header().Del("Cache-Tag")
						if c.request == nil || r.Header.Get("Cookie") != "" {
							for name, value := range c.answer {
								w.Header().Set(name, value)
							}
						}
						w.WriteHeader(304)
					}}
					pages, h := open(t, opts, b)
					get(h, "http://a.example/")
					time.Sleep(15 * time.Second)
					if !grace {
						time.Sleep(time.Minute)
					}
					r := httptest.NewRequest(c.method, "http://a.example/", nil)
					for name, value := range c.request {
						r.Header.Set(name, value)
					}
					do(h, r)
					synctest.Wait()
					w := get(h, "http://a.example/")
					want(t, w, 200, "page")
					if w.Header().Get("X-Visitor") != "" {
						t.Error("the page shows a visitor's field")
					}
					synctest.Wait()
					if n := b.calls.Load(); n > c.calls {
						t.Errorf("%d calls, want %d", n, c.calls)
					}
					// The page is still there: the backend may be gone.
					b.answer = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(503) }
					time.Sleep(time.Hour)
					want(t, get(h, "http://a.example/"), 200, "page")
					// And known by its tags, which the 304 did not repeat.
					if _, err := pages.Invalidate(t.Context(), Invalidation{Tags: []string{"page"}, Hard: true}); err != nil {
						t.Fatal(err)
					}
					if w := get(h, "http://a.example/"); w.Code != 503 {
						t.Errorf("purged by its tag: got %d", w.Code)
					}
				})
			})
		}
	}
}

// TestNobodyWaitsForWhatIsNotShared: once a page has turned out to be its
// asker's alone, nobody waits for another's validation of it.
func TestNobodyWaitsForWhatIsNotShared(t *testing.T) {
	for name, status := range map[string]int{"not modified": 304, "whole": 200} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
					w.Header().Set("Cache-Control", "max-age=10")
					w.Header().Set("Etag", `"a"`)
					if n > 1 {
						time.Sleep(time.Second)
						w.Header().Set("Cache-Control", "max-age=0")
						w.Header().Set("Set-Cookie", fmt.Sprint("sid=", n))
						w.WriteHeader(status)
					}
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Minute)
				get(h, "http://a.example/")
				begun := time.Now()
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() { get(h, "http://a.example/") })
				}
				wg.Wait()
				if d := time.Since(begun); d != time.Second {
					t.Errorf("waited %v", d)
				}
			})
		})
	}
}

func TestValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Etag", `"a"`)
			w.Header().Set("X-Count", fmt.Sprint(n))
			switch {
			case n > 2 && r.Header.Get("If-None-Match") != "":
				w.Header().Set("Etag", `"b"`) // of something else
				w.WriteHeader(304)
			case r.Header.Get("If-None-Match") == `"a"`:
				w.WriteHeader(304)
			default:
				fmt.Fprintf(w, "answer %d", n)
			}
		}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Minute)
		w := get(h, "http://a.example/")
		want(t, w, 200, "answer 1")
		if w.Header().Get("X-Count") != "2" {
			t.Errorf("the 304's fields are not in the answer: %v", w.Header())
		}
		want(t, get(h, "http://a.example/"), 200, "answer 1")
		time.Sleep(time.Minute)
		want(t, get(h, "http://a.example/", "If-None-Match", `"a"`), 200+104, "") // asked anew without conditions: answer 4, still "a"
		want(t, get(h, "http://a.example/"), 200, "answer 4")
		if n := b.calls.Load(); n != 4 {
			t.Errorf("%d calls", n)
		}
	})
}
