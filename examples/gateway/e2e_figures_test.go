//go:build e2e

package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// What a tier of gateways does on real Redis, as processes on loopback:
//
//	go test -tags e2e -run TestE2EFiguresOfATier -v ./examples/gateway
//
// says how long purges, hits and misses take. That is said and not judged, since the
// machine may have other work; what no machine may bring about is judged.

// A figures is a tier under measurement.
type figures struct {
	*testing.T
	bin, backend string
	store        *servertest.Server
	tier         []string
	asked        atomic.Int64 // pages of the backend
	client       *http.Client
}

func TestE2EFiguresOfATier(t *testing.T) {
	f := &figures{T: t, bin: buildGateway(t), store: servertest.Redis(t)}
	f.client = &http.Client{Transport: &http.Transport{MaxConnsPerHost: 200, MaxIdleConnsPerHost: 200}, Timeout: 30 * time.Second}
	f.backend = backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		control := "max-age=3600"
		if strings.HasPrefix(r.URL.Path, "/short") {
			control = "max-age=5, stale-while-revalidate=60"
		}
		if strings.HasPrefix(r.URL.Path, "/short") || strings.HasPrefix(r.URL.Path, "/new") {
			time.Sleep(200 * time.Millisecond) // a page takes its time, for real, since processes wait for it
		}
		w.Header().Set("Cache-Control", control)
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path+"\n", 1000))
	})
	for range 3 {
		f.start()
	}
	f.purges()
	f.cold()
	f.crowds()
	f.stopped()
}

// start starts one more gateway, and returns when it follows the log.
func (f *figures) start() (addr string) {
	port := servertest.FreePort(f.T)
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	servertest.Start(f.T, port, f.bin, "-listen", addr, "-backends", f.backend, "-log", "off", "-linger", "0",
		"-purge-from", "127.0.0.0/8", "-redis-cache", "redis://"+f.store.Addr)
	f.tier = append(f.tier, addr)
	testkit.Within(f.T, 20*time.Second, "a gateway that follows", func() bool {
		_, status, _ := f.do("PURGE", addr, "/none", "Prefer", "wait=5")
		return status == 200
	})
	return addr
}

// do sends a request and returns how long it took.
func (f *figures) do(method, addr, path string, header ...string) (took time.Duration, status int, h http.Header) {
	r, err := http.NewRequest(method, "http://"+addr+path, nil)
	if err != nil {
		f.Error(err)
		return 0, 0, nil
	}
	r.Host = "shop.example"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	begin := time.Now()
	res, err := f.client.Do(r)
	if err != nil {
		f.Error(err)
		return 0, 0, nil
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		f.Error(err)
	}
	return time.Since(begin), res.StatusCode, res.Header
}

// each makes n calls by some at once, and returns how long they took, in order of that.
func each(n, atOnce int, pace time.Duration, call func(i int) time.Duration) []time.Duration {
	took := make([]time.Duration, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				took[i] = call(i)
			}
		})
	}
	begin := time.Now()
	for i := range n {
		if pace > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * pace))) // the pace of a load
		}
		next <- i
	}
	close(next)
	wg.Wait()
	slices.Sort(took)
	return took
}

// said names the median and the 99th percentile.
func said(took []time.Duration) string {
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v of %d", at(0.5), at(0.99), len(took))
}

// purges is how long it takes until all gateways have applied a purge.
func (f *figures) purges() {
	for _, rate := range []int{20, 1000} {
		var others sync.WaitGroup
		others.Go(func() {
			each(4*rate, 16, time.Second/time.Duration(rate), func(i int) time.Duration {
				took, _, _ := f.do("PURGE", f.tier[i%3], fmt.Sprint("/other/", i))
				return took
			})
		})
		took := each(4*20, 4, time.Second/20, func(i int) time.Duration {
			took, status, _ := f.do("PURGE", f.tier[i%3], fmt.Sprint("/purged/", i), "Prefer", "wait=5")
			if status != 200 {
				f.Errorf("PURGE: %d", status)
			}
			return took
		})
		others.Wait()
		f.Logf("a purge applied by three gateways, beside %d others a second: %s", rate, said(took))
	}
}

// cold is how much a further gateway gets from the second level.
func (f *figures) cold() {
	const pages = 2000
	get := func(addr string) []time.Duration {
		return each(pages, 8, 0, func(i int) time.Duration {
			took, _, _ := f.do("GET", addr, fmt.Sprint("/page/", i))
			return took
		})
	}
	warm := get(f.tier[0])
	storedPages(f.T, f.store.Addr, pages)
	before := f.asked.Load()
	cold := get(f.start())
	asked := f.asked.Load() - before
	if asked >= pages { // five calls that take longer than they may, on a machine with other work, are a second without
		f.Errorf("the backend was asked for %d of %d pages", asked, pages)
	}
	f.Logf("a fourth gateway, cold: %.1f%% from the second level, %s; the first from the backend: %s",
		100-100*float64(asked)/pages, said(cold), said(warm))
}

// crowds is how often the backend is asked for one page that 10,000 want.
func (f *figures) crowds() {
	crowd := func(path string) int64 {
		before := f.asked.Load()
		each(10_000, 300, 0, func(i int) time.Duration {
			took, status, _ := f.do("GET", f.tier[i%3], path)
			if status != 200 {
				f.Errorf("%s: %d", path, status)
			}
			return took
		})
		return f.asked.Load() - before
	}
	never := crowd("/new")
	for _, addr := range f.tier {
		f.do("GET", addr, "/short")
	}
	time.Sleep(5500 * time.Millisecond) // it expires
	before := f.asked.Load()
	within := time.NewTimer(1500 * time.Millisecond) // before the next one does
	each(10_000, 300, 100*time.Microsecond, func(i int) time.Duration {
		select {
		case <-within.C:
			within.Reset(0)
			return 0
		default:
		}
		took, _, h := f.do("GET", f.tier[i%3], "/short")
		if !strings.Contains(h.Get("Cache-Status"), "; hit") {
			f.Errorf("not from memory: %s", h.Get("Cache-Status"))
		}
		return took
	})
	expired := f.asked.Load() - before
	if never > 3 || expired < 1 || expired > 3 { // 1, unless a call takes longer than it may
		f.Errorf("never stored: %d fetches, expired: %d", never, expired)
	}
	f.Logf("10,000 clients of one page at three gateways: %d fetches if it was never stored, %d if it had expired within grace", never, expired)
}

// stopped is what it costs that Redis is stopped.
func (f *figures) stopped() {
	hit := func() []time.Duration {
		return each(5000, 4, 0, func(i int) time.Duration {
			took, _, _ := f.do("GET", f.tier[0], fmt.Sprint("/page/", i%500))
			return took
		})
	}
	round := 0
	miss := func(n int) []time.Duration {
		round++
		return each(n, 1, 0, func(i int) time.Duration {
			took, _, _ := f.do("GET", f.tier[0], fmt.Sprintf("/miss/%d/%d", round, i))
			return took
		})
	}
	hits, misses := hit(), miss(200)
	f.store.Pause()
	first := miss(5)
	later := miss(200)
	without := hit()
	f.store.Resume()
	f.Logf("hits: %s; with Redis stopped: %s", said(hits), said(without))
	f.Logf("misses: %s; with Redis stopped, the first five: %s, slowest %v; then: %s",
		said(misses), said(first), first[len(first)-1].Round(time.Millisecond), said(later))
}
