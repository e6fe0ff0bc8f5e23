package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
				q := question{ask: read.keep(key)}
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
			between := read.keep(url)
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
