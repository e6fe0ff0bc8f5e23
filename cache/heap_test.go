package cache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
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
