package esi_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
)

// TestHostileTier: clients that leave, that stop reading and that ask for the worst
// page, before backends that hang, break off and never end. What is in hand is let go
// of, and a client who behaves gets its page all the while.
func TestHostileTier(t *testing.T) {
	var inHand atomic.Int64
	chunk := strings.Repeat("0123456789abcdef", 256)
	b := &backend{pages: map[string]string{
		"/menu":       "MENU",
		"/esi/good":   `<<esi:include src="/menu"/>>`,
		"/esi/worst":  `<esi:include src="/hangs" alt="/menu"/><esi:include src="/endless"/><esi:include src="/breaks"/>` + strings.Repeat(`<esi:include src="/esi/worst?x"/><esi:include src="/large"/>`, 100),
		"/esi/hangs":  `a<esi:include src="/hangs"/>`,
		"/esi/breaks": `a<esi:include src="/large"/><esi:include src="/breaks"/>`,
		"/large":      strings.Repeat(chunk, 500), // 2 MB
	}, own: map[string]http.HandlerFunc{
		"/hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		},
		"/breaks": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, chunk)
			panic(http.ErrAbortHandler)
		},
	}}
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inHand.Add(1)
		defer inHand.Add(-1)
		b.ServeHTTP(w, r)
	}))
	defer back.Close()
	log := new(testkit.Log).Logger()
	pool := must(balancer.New(balancer.Backends(back.URL), balancer.Options{Logger: log}))
	defer pool.Close()
	pages := must(cache.New(cache.Options{Logger: log, MaxBytes: 16 << 20}))
	defer pages.Close()
	p := newProcessor(t, esi.Options{Wait: time.Hour}) // however busy the machine
	rt := must(router.New(router.Options{}, router.Rule{Name: "shop", To: p.Handler(pages.Handler(pool))}))
	srv := serve(t, rt)
	addr := srv.Addr().String()

	over := make(chan struct{})
	var hostile, polite sync.WaitGroup
	for i := range 30 {
		hostile.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 10 {
				c := testkit.Dial(t, addr)
				path := []string{"/esi/worst", "/esi/hangs", "/esi/breaks", "/esi/good"}[random.IntN(4)]
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: shop.example\r\nCookie: a=%d\r\n\r\n", path, i)
				if n := random.IntN(3); n > 0 {
					c.SetReadDeadline(time.Now().Add(time.Duration(random.Int64N(int64(200 * time.Millisecond)))))
					_, _ = io.CopyN(io.Discard, c, random.Int64N(100_000)) // however much there is
				}
				c.Close()
			}
		})
	}
	polite.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			c := testkit.Dial(t, addr)
			io.WriteString(c, "GET /esi/good HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				c.Close()
				return
			}
			if body, err := io.ReadAll(res.Body); string(body) != "<MENU>" || err != nil {
				t.Errorf("a polite client gets %q, %v", body, err)
			}
			c.Close()
		}
	})
	hostile.Wait()
	close(over)
	polite.Wait()
	testkit.Within(t, 20*time.Second, "all is let go of", func() bool {
		return inHand.Load() == 0 && metric(p, "memory_used_bytes") == 0
	})
}
