package cache

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyWaitForOnePage: who comes when very many wait already waits as they
// do, and nobody is refused.
func TestManyWaitForOnePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			time.Sleep(4 * time.Second)
			w.Write([]byte("page"))
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for range 3000 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "page") })
		}
		wg.Wait()
		if n := b.calls.Load(); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
}

// A slowClient takes so many bytes a second, or none at all, until what is
// written to it is broken off.
type slowClient struct {
	header http.Header
	rate   int
	quit   chan struct{}
	once   sync.Once
	got    []byte
}

func newSlowClient(rate int) *slowClient {
	return &slowClient{header: make(http.Header), rate: rate, quit: make(chan struct{})}
}

func (c *slowClient) Header() http.Header { return c.header }
func (c *slowClient) WriteHeader(int)     {}

func (c *slowClient) SetWriteDeadline(time.Time) error {
	c.once.Do(func() { close(c.quit) })
	return nil
}

func (c *slowClient) Write(p []byte) (int, error) {
	taken := make(<-chan time.Time)
	if c.rate > 0 {
		taken = time.After(time.Duration(len(p)) * time.Second / time.Duration(c.rate))
	}
	select {
	case <-taken:
		c.got = append(c.got, p...)
		return len(p), nil
	case <-c.quit:
		return 0, os.ErrDeadlineExceeded
	}
}

// ask asks h for url, and reports whether the answer is whole.
func (c *slowClient) ask(h http.Handler, url, client string) (whole bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		}
	}()
	r := httptest.NewRequest("GET", url, nil)
	r.RemoteAddr = client + ":1"
	h.ServeHTTP(c, r)
	return true
}

// files answers with size bytes and a length, if it is stated.
func files(size int, stated bool) *backend {
	body := noise(size)
	return &backend{header: control("max-age=600"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
		if stated {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for p := body; len(p) > 0; p = p[min(len(p), 32<<10):] {
			if _, err := w.Write(p[:min(len(p), 32<<10)]); err != nil {
				panic(http.ErrAbortHandler)
			}
			time.Sleep(time.Microsecond) // so that all who wait begin to read
		}
	}}
}

// TestNobodyWaitsForAnothersClient: of a file too large to be stored, one slow
// reader stops no other, whoever was first; and it gets the whole as well.
func TestNobodyWaitsForAnothersClient(t *testing.T) {
	const size = 3 << 20
	for _, first := range []string{"slow", "fast", "standing still"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := files(size, false)
				c, h := open(t, Options{MaxBody: 1 << 20}, slowStart(b))
				rates := []int{2 << 10, 100 << 20, 50 << 20}
				switch first {
				case "fast":
					rates[0], rates[1] = rates[1], rates[0]
				case "standing still":
					rates[0] = 0
				}
				begun := time.Now()
				var wg sync.WaitGroup
				for i, rate := range rates {
					client := newSlowClient(rate)
					wg.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						whole := client.ask(h, "http://a.example/", fmt.Sprint("192.0.2.", i))
						if rate == 0 {
							return
						}
						if !whole || !bytes.Equal(client.got, noise(size)) {
							t.Errorf("at %d bytes a second: %d bytes of %d, whole: %t", rate, len(client.got), size, whole)
						}
						if took := time.Since(begun); rate > 2<<10 && took > 5*time.Second {
							t.Errorf("at %d bytes a second, took %v", rate, took)
						}
					})
					if rate == 0 {
						time.AfterFunc(time.Hour, func() { _ = client.SetWriteDeadline(time.Now()) })
					}
				}
				wg.Wait()
				time.Sleep(time.Minute)
				if s := c.store.Stats(); s.Used != 0 || s.Given != 0 {
					t.Errorf("still counted: %+v", s)
				}
			})
		})
	}
}

// slowStart gives all a second to join before the body comes.
func slowStart(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		h.ServeHTTP(w, r)
	})
}

// TestRestIsTheSame: a client that was left behind gets no rest of another file.
func TestRestIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=600"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			for range 100 {
				w.Write(bytes.Repeat([]byte{byte(n)}, 32<<10))
				time.Sleep(time.Millisecond)
			}
		}}
		_, h := open(t, Options{MaxBody: 1 << 20}, b)
		slow, fast := newSlowClient(2<<10), newSlowClient(100<<20)
		var wg sync.WaitGroup
		wg.Go(func() {
			if slow.ask(h, "http://a.example/", "192.0.2.1") || bytes.IndexByte(slow.got, 2) >= 0 {
				t.Errorf("%d bytes, taken for whole", len(slow.got))
			}
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond) // the slow one leads
			if !fast.ask(h, "http://a.example/", "192.0.2.2") || len(fast.got) != 100*32<<10 {
				t.Errorf("the fast one has %d bytes", len(fast.got))
			}
		})
		wg.Wait()
	})
}

// TestSlowReadersAreCounted: whatever clients keep of files that are or were
// being stored, memory stays within its bound.
func TestSlowReadersAreCounted(t *testing.T) {
	const limit = 16 << 20
	for name, b := range map[string]*backend{
		"length stated": files(900<<10, true), "chunked": files(900<<10, false), "too large": files(1500<<10, false),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := heap()
				c, h := open(t, Options{MaxBytes: limit}, b)
				var wg sync.WaitGroup
				var clients []*slowClient
				for i := range 80 {
					client := newSlowClient(0)
					clients = append(clients, client)
					wg.Go(func() { client.ask(h, fmt.Sprint("http://a.example/", i), fmt.Sprint("192.0.2.", i%4)) })
					time.Sleep(10 * time.Millisecond)
				}
				synctest.Wait()
				if s := c.store.Stats(); s.Used+s.Given > limit*11/10 {
					t.Errorf("counted: %+v", s)
				}
				if grown := heap() - before; grown > limit*11/10+80*(spare+4<<10) {
					t.Errorf("the heap has grown by %d, %d allowed", grown, int64(limit))
				}
				for _, client := range clients {
					_ = client.SetWriteDeadline(time.Now())
				}
				wg.Wait()
				time.Sleep(time.Minute)
				if s := c.store.Stats(); s.Used != s.Held || s.Given != 0 || s.Loose != 0 {
					t.Errorf("at rest: %+v", s)
				}
				runtime.KeepAlive(c)
			})
		})
	}
}

// TestSlowReadersLeaveTheCache: those who take nothing of what they are sent are
// given up before what others are served from is evicted, and those who do take
// it are not.
func TestSlowReadersLeaveTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large, small := files(900<<10, true), files(20<<10, true)
		c, h := open(t, Options{MaxBytes: 16 << 20}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/file" {
				large.ServeHTTP(w, r)
				return
			}
			small.ServeHTTP(w, r)
		}))
		hot := func() (hits int) {
			for i := range 80 {
				w := get(h, fmt.Sprint("http://a.example/hot?", i))
				if bytes.Contains([]byte(w.Header().Get("Cache-Status")), []byte("; hit")) {
					hits++
				}
			}
			return hits
		}
		hot()
		hot()
		var wg sync.WaitGroup
		honest := newSlowClient(20 << 10)
		get(h, "http://a.example/file?honest")
		wg.Go(func() {
			if !honest.ask(h, "http://a.example/file?honest", "198.51.100.1") {
				t.Error("one that takes what it is sent was given up")
			}
		})
		var clients []*slowClient
		for i := range 40 {
			url := fmt.Sprint("http://a.example/file?", i)
			get(h, url)
			client := newSlowClient(0)
			clients = append(clients, client)
			wg.Go(func() { client.ask(h, url, "192.0.2.1") })
			time.Sleep(100 * time.Millisecond)
			hot()
		}
		for i := range 300 {
			get(h, fmt.Sprint("http://a.example/cold?", i))
		}
		if n := hot(); n < 76 {
			t.Errorf("%d of 80 hits: %+v", n, c.store.Stats())
		}
		for _, client := range clients {
			time.AfterFunc(time.Hour, func() { _ = client.SetWriteDeadline(time.Now()) })
		}
		wg.Wait()
	})
}

// Varnish 2964: one slow client holds the fetch, and with it all others.
func TestASlowReaderHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := noise(2 << 20)
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			for p := whole; len(p) > 0; p = p[64<<10:] {
				w.Write(p[:64<<10])
			}
		}}
		_, h := open(t, Options{MaxBytes: 64 << 20}, b)
		var wg sync.WaitGroup
		wg.Go(func() {
			w := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
			if !bytes.Equal(w.Body.Bytes(), whole) {
				t.Error("the slow one got something else")
			}
		})
		synctest.Wait()
		begun := time.Now()
		if w := get(h, "http://a.example/"); !bytes.Equal(w.Body.Bytes(), whole) || time.Since(begun) != 0 {
			t.Errorf("the fast one took %v", time.Since(begun))
		}
		wg.Wait()
	})
}

type slowWriter struct{ *httptest.ResponseRecorder }

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Minute / 2) // in a bubble
	return w.ResponseRecorder.Write(p)
}
