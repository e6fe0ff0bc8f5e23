package cache

import (
	"context"
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

// TestStoredMeanwhile: who leads a flight finds what has been stored since it was
// looked up, and those who wait for it by then get the same, unless a purge has
// come between.
func TestStoredMeanwhile(t *testing.T) {
	const url = "http://a.example/"
	cases := map[string]struct {
		between func(*Cache, http.Handler)
		calls   int32
	}{
		"stored":           {func(_ *Cache, other http.Handler) { get(other, url) }, 1},
		"stored by others": {func(_ *Cache, other http.Handler) { get(other, url, "Accept-Language", "de") }, 1},
		"not stored":       {func(*Cache, http.Handler) {}, 1},
		"purged": {func(c *Cache, other http.Handler) {
			get(other, url)
			_, _ = c.Invalidate(t.Context(), Invalidation{URL: url, Hard: true})
		}, 3}, // the flight began before the purge: its leader is served, those who wait ask again
		"closed": {func(c *Cache, _ http.Handler) { _ = c.Close() }, 3}, // each for itself
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60")}
				c, served := open(t, Options{}, b)
				h, other := served.(*handler), c.Handler(b) // they share what is stored, and no flights
				read, key := h.read(httptest.NewRequest("GET", url, nil), nil)
				q := question{ask: read.detached(key)}
				f, leads := h.flights.join(&q)
				if !leads {
					t.Fatal("leads not")
				}
				waiting := make(chan *httptest.ResponseRecorder, 2)
				for range cap(waiting) {
					go func() { waiting <- get(h, url) }()
				}
				synctest.Wait()
				if f.wanted != 3 {
					t.Errorf("%d want it", f.wanted)
				}
				tc.between(c, other)
				w := httptest.NewRecorder()
				h.launch(w, f, q)
				if n := h.use(w, q.ask, f, true); n == noFetch {
					h.pass(w, q.ask.r, q.ask, "uri-miss", "no fetch to share")
				}
				for range cap(waiting) {
					if got := <-waiting; got.Code != 200 {
						t.Errorf("got %d %q", got.Code, got.Body)
					}
				}
				if n := b.calls.Load(); w.Code != 200 || n != tc.calls {
					t.Errorf("got %d %q after %d calls, want %d", w.Code, w.Body, n, tc.calls)
				}
				if len(h.flights.m) != 0 {
					t.Errorf("left are %v", h.flights.m)
				}
				_ = c.Close()
				if n := c.store.Stats().Used; tc.calls == 1 && n == 0 {
					t.Error("nothing is stored")
				}
			})
		})
	}
}

func TestMissesAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			fmt.Fprintf(w, "answer %d", n)
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
			io.WriteString(w, " and the end")
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "answer 1 and the end") })
		}
		wg.Wait()
		if n := b.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// A request that was looked up before a fetch ended, and joins after it, finds
// what the fetch stored: else a busy machine renders a page twice.
func TestNoSecondFetchForWhoComesBetween(t *testing.T) {
	for name, control := range map[string]string{"fresh": "max-age=60", "to be validated": "max-age=60, no-cache"} {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: http.Header{"Cache-Control": {control}, "Etag": {`"a"`}}}
			_, served := open(t, Options{}, b)
			h := served.(*handler)
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			read, url := h.read(r, nil)
			between := read.detached(url)
			want(t, get(h, "http://a.example/"), 200, "answer 1")
			w := httptest.NewRecorder()
			h.miss(w, between, nil, decide(between.situation(nil, url)))
			if control == "max-age=60" {
				want(t, w, 200, "answer 1")
			} else {
				want(t, w, 200, "answer 2")
			}
		})
	}
}

// Varnish 3461: while nobody knows that a URL is uncacheable, its visitors
// wait in line, one backend request after another.
func TestNobodyWaitsInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "private")
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		all := func() time.Duration {
			begun := time.Now()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() { get(h, "http://a.example/") })
			}
			wg.Wait()
			return time.Since(begun)
		}
		if d := all(); d > 2*time.Second {
			t.Errorf("50 visitors took %v when it was not known", d)
		}
		if d := all(); d != time.Second {
			t.Errorf("50 visitors took %v when it was known", d)
		}
		time.Sleep(2*time.Minute + time.Second)
		if d := all(); d != 2*time.Second {
			t.Errorf("a mark older than two minutes: %v", d)
		}
	})
}

// Souin 276: a purge of a popular page sends everybody to the backend.
func TestAPurgeBringsNoHerd(t *testing.T) {
	for _, hard := range []bool{false, true} {
		t.Run(fmt.Sprint("hard=", hard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					time.Sleep(time.Second)
					fmt.Fprint(w, n)
				}}
				c, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				if _, err := c.Invalidate(t.Context(), Invalidation{All: true, Hard: hard}); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() { get(h, "http://a.example/") })
				}
				wg.Wait()
				time.Sleep(2 * time.Second)
				if n := b.calls.Load(); n != 2 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

// Souin 337, 704, 849: the one who asks goes away, or stalls, and with it
// everybody who waits.
func TestALeaderThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(3 * time.Second)
			io.WriteString(w, "first half, ")
			w.(http.Flusher).Flush()
			time.Sleep(3 * time.Second)
			fmt.Fprint(w, "second half ", n)
		}}
		_, h := open(t, Options{}, b)
		for _, after := range []time.Duration{time.Second, 4 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			go func() {
				defer func() { _ = recover() }()
				do(h, httptest.NewRequestWithContext(ctx, "GET", "http://"+after.String()+".example/", nil))
			}()
			synctest.Wait()
			w := get(h, "http://"+after.String()+".example/")
			if !strings.HasPrefix(w.Body.String(), "first half, second half") {
				t.Errorf("leader gone after %v: %q", after, w.Body)
			}
			cancel()
		}
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestALeaderThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				<-r.Context().Done()
				w.WriteHeader(504)
				return
			}
			time.Sleep(time.Second)
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if w := get(h, "http://a.example/"); w.Code != 504 || time.Since(begun) != time.Minute {
				t.Errorf("the stalled one: %d after %v", w.Code, time.Since(begun))
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				want(t, get(h, "http://a.example/"), 200, "2")
				if d := time.Since(begun); d != 11*time.Second {
					t.Errorf("waited %v", d)
				}
			})
		}
		wg.Wait()
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls: one of those who wait takes over, not all", n)
		}
	})
}
