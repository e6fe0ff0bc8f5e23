package cache

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// page answers with what a shop's page has in its head, and size bytes.
func page(size int) http.Handler {
	body := bytes.Repeat([]byte("x"), size)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=3600")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		h.Set("Etag", `"5f2a-60c1"`)
		h.Set("Server", "Apache")
		w.Write(body)
	})
}

func request(url string) *http.Request {
	r := httptest.NewRequest("GET", url, nil)
	r.Header = http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
		"Accept":          {"text/html,application/xhtml+xml"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"Accept-Language": {"de,en;q=0.7"},
	}
	return r
}

func BenchmarkFreshHit(b *testing.B) {
	_, h := open(b, Options{}, page(1024))
	r := request("http://shop.example/product/42?page=2")
	w := &sink{header: make(http.Header)}
	h.ServeHTTP(w, r)
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkFreshHitOfAForm is of what was compressed when it was stored.
func BenchmarkFreshHitOfAForm(b *testing.B) {
	c, h := open(b, Options{Compress: packers()}, page(1024))
	r := request("http://shop.example/product/42?page=2")
	w := &sink{header: make(http.Header)}
	h.ServeHTTP(w, r)
	c.coders.wait.Wait()
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	if w.header.Get("Content-Encoding") != "br" {
		b.Error(w.header)
	}
}

func BenchmarkFreshHitParallel(b *testing.B) {
	_, h := open(b, Options{}, page(1024))
	for i := range 1000 {
		h.ServeHTTP(&sink{header: make(http.Header)}, request(fmt.Sprint("http://shop.example/product/", i)))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := &sink{header: make(http.Header)}
		r := request("http://shop.example/product/7")
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

func TestFreshHitAllocations(t *testing.T) {
	_, h := open(t, Options{}, page(1024))
	r := request("http://shop.example/product/42?page=2")
	w := &sink{header: make(http.Header)}
	h.ServeHTTP(w, r)
	if n := testing.AllocsPerRun(100, func() { clear(w.header); h.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMiss(b *testing.B) {
	_, h := open(b, Options{MaxBytes: 64 << 20}, page(1024))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		h.ServeHTTP(&sink{header: make(http.Header)}, request(fmt.Sprint("http://shop.example/product/", i)))
	}
}

// heap returns the live heap in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkMillion stores a million responses of 100 bytes and reports what
// each takes beyond its body, header and key, and how long a collection stops
// the world for.
func BenchmarkMillion(b *testing.B) {
	const count = 1_000_000
	for b.Loop() {
		before := heap()
		s := memory.New(4 << 30)
		var texts int64
		for i := range count {
			e := &memory.Entry{
				URL: fmt.Sprint("shop.example/product/", i), Head: string(bytes.Repeat([]byte("h"), 160)),
				Body: bytes.Repeat([]byte("b"), 100), Status: 200,
			}
			texts += int64(len(e.URL) + len(e.Head) + len(e.Body))
			s.Add(e, 0, func(*memory.Entry) bool { return false }, func() bool { return true })
		}
		after := heap()
		var gc debug.GCStats
		gc.PauseQuantiles = make([]time.Duration, 5)
		runtime.GC()
		debug.ReadGCStats(&gc)
		b.ReportMetric(float64(after-before-texts)/count, "B/entry-overhead")
		b.ReportMetric(float64(gc.Pause[0].Microseconds()), "µs/pause")
		b.ReportMetric(float64(s.Stats().Used)/float64(after-before), "counted/heap")
		runtime.KeepAlive(s)
	}
}

func BenchmarkInsertEvicting(b *testing.B) {
	s := memory.New(64 << 20)
	body := make([]byte, 256)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		s.Add(&memory.Entry{URL: fmt.Sprint(i), Head: "Etag: x\r\n", Body: body, Status: 200}, 0,
			func(*memory.Entry) bool { return false }, func() bool { return true })
	}
}
