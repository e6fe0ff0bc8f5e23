package cache

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Magento 40641: the memory of what is not to be stored grows without bound.
func TestMarkersAreBounded(t *testing.T) {
	var m markers
	now := time.Unix(1_700_000_000, 0)
	for key := range uint64(1 << 20) {
		m.set(key*0x9e3779b97f4a7c15, now.Add(time.Minute))
	}
	last := uint64(1<<20 - 1)
	if key := last * 0x9e3779b97f4a7c15; !m.has(key, now) || m.has(key, now.Add(time.Minute)) {
		t.Error("the last one is not marked, or for ever")
	}
	m.set(5<<32|1, now.Add(time.Minute))
	if m.has(6<<32|1, now) {
		t.Error("another key in the same slot is taken for it")
	}
	m.clear(6<<32 | 1)
	if !m.has(5<<32|1, now) {
		t.Error("another key's mark was taken off")
	}
	if m.clear(5<<32 | 1); m.has(5<<32|1, now) {
		t.Error("still marked")
	}
}

// cache-handler 118: the limit does not count what is on its way in.
func TestWhatComesInIsCounted(t *testing.T) {
	const limit = 4 << 20
	var c *Cache
	release := make(chan struct{})
	var peak atomic.Int64
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
		for range 8 {
			w.Write(make([]byte, 24<<10))
			if used := c.store.Stats().Used; used > peak.Load() {
				peak.Store(used)
			}
		}
		<-release
	}}
	c, h := open(t, Options{MaxBytes: limit}, b)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { get(h, fmt.Sprint("http://a.example/", i)) })
	}
	close(release)
	wg.Wait()
	if p := peak.Load(); p > limit || p < limit/2 {
		t.Errorf("%d bytes used of %d", p, limit)
	}
	for i := range 100 {
		get(h, fmt.Sprint("http://a.example/later/", i))
	}
	if s := c.store.Stats(); s.Used > limit || s.Used != s.Held {
		t.Errorf("at rest: %+v", s)
	}
}

// Pingora's PredictedResponseTooLarge: what is too large flushes the cache, or
// is tried again each time.
func TestWhatIsTooLargeFlushesNothing(t *testing.T) {
	for _, stated := range []bool{true, false} {
		t.Run(fmt.Sprint("length stated=", stated), func(t *testing.T) {
			whole := noise(1 << 20)
			b := &backend{header: control("max-age=60")}
			b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
				if r.URL.Path == "/small" {
					fmt.Fprint(w, n)
					return
				}
				if stated {
					w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
				}
				w.Write(whole)
			}
			c, h := open(t, Options{MaxBytes: 1 << 20}, b)
			get(h, "http://a.example/small")
			for range 2 {
				if w := get(h, "http://a.example/big"); !bytes.Equal(w.Body.Bytes(), whole) {
					t.Errorf("got %d bytes", w.Body.Len())
				}
			}
			w := get(h, "http://a.example/big")
			if got := w.Header().Get("Cache-Status"); !strings.Contains(got, "not to be stored lately") {
				t.Errorf("tried again: %s", got)
			}
			want(t, get(h, "http://a.example/small"), 200, "1")
			if s := c.store.Stats(); s.Count != 1 {
				t.Errorf("%d stored", s.Count)
			}
		})
	}
}

// storages 23, components-web-app 84: the tag index never forgets, or a purge
// takes neighbours with it.
func TestTagsAreForgotten(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Tag", "all, "+strings.TrimPrefix(r.URL.Path, "/"))
		fmt.Fprintf(w, "%2000d", n)
	}}
	c, h := open(t, Options{MaxBytes: 1 << 20}, b)
	for i := range 3000 {
		get(h, fmt.Sprint("http://a.example/t", i))
	}
	s := c.store.Stats()
	if s.Evictions == 0 || s.Tags > s.Count+1 {
		t.Errorf("after evictions: %d tags for %d responses, %d evicted", s.Tags, s.Count, s.Evictions)
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"t2999"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	if left := c.store.Stats(); left.Count != s.Count-1 || left.Tags != s.Tags-1 {
		t.Errorf("one purged: %d of %d responses, %d of %d tags are left", left.Count, s.Count, left.Tags, s.Tags)
	}
}
