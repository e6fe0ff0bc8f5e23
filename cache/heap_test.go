package cache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
)

// TestMaxBytesIsTheHeap fills a cache with more than it may hold, of all sizes
// and with tags, and compares what the heap has grown by with MaxBytes.
func TestMaxBytesIsTheHeap(t *testing.T) {
	const limit = 8 << 20
	mixes := map[string]func(random *rand.Rand) (size, tags int){
		"tiny":      func(r *rand.Rand) (int, int) { return r.IntN(50), 0 },
		"tagged":    func(r *rand.Rand) (int, int) { return r.IntN(2000), r.IntN(40) },
		"pages":     func(r *rand.Rand) (int, int) { return 5_000 + r.IntN(60_000), 3 },
		"stated":    func(r *rand.Rand) (int, int) { return 33_000 + r.IntN(20_000), 0 },
		"downloads": func(r *rand.Rand) (int, int) { return 100_000 + r.IntN(400_000), 0 },
	}
	for name, mix := range mixes {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				size, tags := mix(random)
				w.Header().Set("Cache-Control", "max-age=3600")
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				for range tags {
					w.Header().Add("Xkey", fmt.Sprint("tag-", random.IntN(1_000_000)))
				}
				if name == "stated" {
					w.Header().Set("Content-Length", fmt.Sprint(size))
				}
				w.Write(make([]byte, size))
			})
			before := heap()
			c, h := open(t, Options{MaxBytes: limit}, handler)
			for i := 0; c.store.Stats().Evictions < 200; i++ {
				h.ServeHTTP(&sink{header: make(http.Header)}, request(fmt.Sprint("http://shop.example/product/", i)))
			}
			grown := heap() - before
			if s := c.store.Stats(); grown > limit*105/100+(640<<10) || s.Used > limit || grown < limit*3/4 {
				t.Errorf("the heap has grown by %d, %d counted, %d allowed", grown, s.Used, int64(limit))
			}
			runtime.KeepAlive(c)
		})
	}
}

// TestFormsAreInTheHeap as they are counted.
func TestFormsAreInTheHeap(t *testing.T) {
	const limit = 8 << 20
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		n, _ := strconv.Atoi(r.URL.Path[1:])
		_, _ = io.WriteString(w, markup(3000+n%97*300))
	})
	list := packers()
	before := heap()
	c, h := open(t, Options{MaxBytes: limit, Compress: list}, handler)
	for i := 0; c.store.Stats().Evictions < 200; i++ {
		r := httptest.NewRequest("GET", "http://shop.example/"+strconv.Itoa(i), nil)
		for _, one := range list {
			r.Header.Set("Accept-Encoding", one.Coding())
			h.ServeHTTP(&sink{header: make(http.Header)}, r)
			c.coders.wait.Wait()
		}
	}
	runtime.GC() // what pools keep
	grown := heap() - before
	s := c.store.Stats()
	if grown > limit*105/100+(640<<10) || s.Used > limit || grown < limit*3/4 || s.Forms < 2*s.Count {
		t.Errorf("the heap has grown by %d, %d allowed: %+v", grown, int64(limit), s)
	}
	runtime.KeepAlive(c)
}
