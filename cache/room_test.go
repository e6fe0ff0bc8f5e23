package cache

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoomComesBack: a page that came while there was no room is fetched once for
// all, and stored, as soon as there is.
func TestRoomComesBack(t *testing.T) {
	const limit = 8 << 20
	for name, stated := range map[string]bool{"length stated": true, "chunked": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := strings.Repeat("page", 50<<10)
				b := &backend{header: control("max-age=600"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
					if stated {
						w.Header().Set("Content-Length", "204800")
					}
					time.Sleep(time.Second)
					for p := body; p != ""; p = p[min(len(p), 32<<10):] {
						_, _ = w.Write([]byte(p[:min(len(p), 32<<10)]))
					}
				}}
				c, h := open(t, Options{MaxBytes: limit}, b)
				taken := limit - int64(20<<10)
				if !c.store.Reserve(taken) {
					t.Fatal("the room cannot be taken")
				}
				w := get(h, "http://a.example/")
				want(t, w, 200, body)
				if s := c.store.Stats(); s.Held != 0 {
					t.Fatalf("stored where there is no room: %+v", s)
				}
				c.store.Unreserve(taken)
				calls := b.calls.Load()
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { want(t, get(h, "http://a.example/"), 200, body) })
				}
				wg.Wait()
				want(t, get(h, "http://a.example/"), 200, body)
				if n := b.calls.Load() - calls; n != 1 {
					t.Errorf("with room again, the backend was asked %d times", n)
				}
			})
		})
	}
}
