package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// visit asks as a client who leaves after a while, and returns when it has.
func visit(t *testing.T, h http.Handler, url, client string, stays time.Duration) {
	ctx, leave := context.WithTimeout(t.Context(), stays)
	defer leave()
	defer func() { _ = recover() }() // an answer that is cut off
	r := httptest.NewRequestWithContext(ctx, "GET", url, nil)
	r.RemoteAddr = client + ":1"
	h.ServeHTTP(httptest.NewRecorder(), r)
}

// TestWhatNobodyWaitsFor gives its place back, unless it is known that it is
// stored; and of that few go on, fewer still of one client.
func TestWhatNobodyWaitsFor(t *testing.T) {
	one := func(int) string { return "192.0.2.1" }
	v6 := func(i int) string { return fmt.Sprintf("[2001:db8::%x]", i+1) }
	each := func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }
	cases := map[string]struct {
		stored bool          // and stale since
		header time.Duration // when it comes
		cc     string
		client func(int) string
		want   int64 // that go on
	}{
		"nothing is known":                {false, 4 * time.Second, "max-age=60", each, 0},
		"not to be stored":                {false, 0, "no-store", each, 0},
		"stored before":                   {true, 4 * time.Second, "max-age=60", one, nobodyByClient},
		"stored before, of one network":   {true, 4 * time.Second, "max-age=60", v6, nobodyByClient},
		"stored before, of many":          {true, 4 * time.Second, "max-age=60", each, maxForNobody},
		"its header says so":              {false, 0, "max-age=60", one, nobodyByClient},
		"its header says so, many left":   {false, 0, "max-age=60", each, maxForNobody},
		"it is somebody's and was stored": {true, 0, "private", each, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var slow atomic.Bool
				var at atomic.Int64 // a place of the backend
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
					at.Add(1)
					defer at.Add(-1)
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("Etag", `"1"`)
					if !slow.Load() {
						_, _ = io.WriteString(w, "page")
						return
					}
					wait := func(d time.Duration) {
						select {
						case <-time.After(d):
						case <-r.Context().Done():
						}
					}
					wait(c.header)
					w.Header().Set("Cache-Control", c.cc)
					_, _ = io.WriteString(w, "pa")
					_ = http.NewResponseController(w).Flush()
					wait(4*time.Second - c.header)
					_, _ = io.WriteString(w, "ge")
				}}
				_, h := open(t, Options{Grace: -1}, b)
				const pages = 24
				url := func(i int) string { return fmt.Sprintf("http://a.example/%d", i) }
				if c.stored {
					for i := range pages {
						want(t, get(h, url(i)), 200, "page")
					}
					time.Sleep(61 * time.Second)
				}
				slow.Store(true)
				for i := range pages {
					go visit(t, h, url(i), c.client(i), time.Second)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if n := at.Load(); n != c.want {
					t.Errorf("%d fetches hold a place for nobody, want %d", n, c.want)
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				kept, before := 0, b.calls.Load()
				slow.Store(false)
				for i := range pages {
					want(t, get(h, url(i)), 200, "page")
				}
				if kept = pages - int(b.calls.Load()-before); kept != int(c.want) {
					t.Errorf("%d of them were stored, want those %d", kept, c.want)
				}
				if fs := &h.(*handler).flights; len(fs.nobody) != 0 || len(fs.m) != 0 {
					t.Errorf("left are %v, %d flights", fs.nobody, len(fs.m))
				}
			})
		})
	}
}

// TestSomebodyWaits: a fetch goes on for the last who waits for it, and for who
// comes when it goes on for nobody.
func TestSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			select {
			case <-time.After(4 * time.Second):
			case <-r.Context().Done():
			}
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		go visit(t, h, "http://a.example/", "192.0.2.1", time.Second)
		synctest.Wait()
		go visit(t, h, "http://a.example/", "192.0.2.2", 2*time.Second)
		time.Sleep(time.Second + 1)
		want(t, get(h, "http://a.example/"), 200, "1")
		// All have left: who comes then asks anew, and does not join what ends.
		go visit(t, h, "http://b.example/", "192.0.2.1", time.Second)
		time.Sleep(time.Second + 1)
		want(t, get(h, "http://b.example/"), 200, "3")
	})
}

// A client may leave while the header comes that says that what it asked for is
// its own: what decides about the fetch then is not what the fetch gives back. (The
// race detector sees it.)
func TestLeavesAsTheHeaderComes(t *testing.T) {
	var comes atomic.Pointer[chan struct{}]
	_, h := open(t, Options{Grace: -1, ErrorGrace: -1}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "no-cache")
		if r.Header["If-None-Match"] != nil {
			<-*comes.Load()
			w.Header().Set("Cache-Control", "no-store")
		}
		_, _ = io.WriteString(w, "page")
	}))
	for i := range 200 {
		url := fmt.Sprint("http://a.example/", i)
		want(t, get(h, url), 200, "page")
		c := make(chan struct{})
		comes.Store(&c)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() {
			defer close(left)
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", url, nil))
		}()
		go leave()
		close(c)
		<-left
	}
}
