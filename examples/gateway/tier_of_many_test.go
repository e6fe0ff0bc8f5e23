package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// TestPurgeReachesOtherGateways: a PURGE at one gateway, answered once all have
// applied it.
func TestPurgeReachesOtherGateways(t *testing.T) {
	var price atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintf(w, "%d €", price.Load())
	})
	store := "redis://" + servertest.Redis(t).Addr
	var tier []string
	for range 3 {
		addr, _ := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.0/8", "-redis-cache", store)
		tier = append(tier, addr)
	}
	for i := range 5 {
		price.Store(int64(i))
		status, said := sendTarget(t, tier[i%3], "PURGE", "/", "Prefer: wait=30")
		if status != 200 || !strings.Contains(said, "by all gateways") {
			t.Errorf("PURGE: %d %q", status, said)
		}
		for j, addr := range tier {
			if _, got := sendTarget(t, addr, "GET", "/"); got != fmt.Sprintf("%d €", i) {
				t.Errorf("gateway %d serves %q after %d", j, got, i)
			}
		}
	}
}

// TestAFurtherGatewayIsWarm: what others have fetched it serves without a backend; once
// Redis is gone, what it has in memory.
func TestAFurtherGatewayIsWarm(t *testing.T) {
	cases := map[string]func(t *testing.T, log, pages *servertest.Server) []string{
		"one Redis": func(_ *testing.T, log, _ *servertest.Server) []string {
			return []string{"-redis-cache", "redis://" + log.Addr}
		},
		"one for the pages": func(_ *testing.T, log, pages *servertest.Server) []string {
			return []string{"-redis-cache", "redis://" + log.Addr, "-redis-pages", "redis://" + pages.Addr}
		},
		"none for the pages": func(_ *testing.T, log, _ *servertest.Server) []string {
			return []string{"-redis-cache", "redis://" + log.Addr, "-redis-pages", "none"}
		},
	}
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			const pages = 50
			var asked atomic.Int64
			backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				fmt.Fprint(w, r.URL.Path)
			})
			log, other := servertest.Redis(t), servertest.Redis(t)
			args := append([]string{"-backends", backend, "-purge-from", "127.0.0.0/8"}, flags(t, log, other)...)
			get := func(addr string) {
				t.Helper()
				for i := range pages {
					path := fmt.Sprint("/", i)
					if status, got := sendTarget(t, addr, "GET", path); status != 200 || got != path {
						t.Errorf("%s: %d %q", path, status, got)
					}
				}
			}
			first, _ := startGateway(t, args...)
			if status, said := sendTarget(t, first, "PURGE", "/", "Prefer: wait=30"); status != 200 { // it follows by then
				t.Fatalf("PURGE: %d %q", status, said)
			}
			get(first)
			shared := name != "none for the pages"
			stored := 0
			if shared {
				stored = storedPages(t, map[bool]string{true: other.Addr, false: log.Addr}[name == "one for the pages"], pages)
			}
			var second string
			further := func() int64 {
				before := asked.Load()
				second, _ = startGateway(t, args...)
				if status, said := sendTarget(t, second, "PURGE", "/none", "Prefer: wait=30"); status != 200 {
					t.Fatalf("PURGE: %d %q", status, said)
				}
				get(second)
				return asked.Load() - before
			}
			if shared {
				// One that is cold has found Redis slow, as it may be beside other tests.
				testkit.Within(t, time.Minute, "a gateway that is warm", func() bool { return further() <= int64(pages-stored) })
			} else if n := further(); n != pages {
				t.Errorf("the backend was asked %d times, want %d", n, pages)
			}
			log.Kill()
			other.Kill()
			get(first)
			get(second)
		})
	}
}

// storedPages waits until Redis has all of n pages, or no more come: what it does not take
// within 25 ms is dropped, which most must not be.
func storedPages(t *testing.T, addr string, n int) int {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	stored, since := 0, time.Now()
	testkit.Within(t, time.Minute, "pages in Redis", func() bool {
		keys, err := client.Keys(t.Context(), "*:page:*").Result()
		if err == nil && len(keys) != stored {
			stored, since = len(keys), time.Now()
		}
		return stored >= n || stored > n/2 && time.Since(since) > 2*time.Second
	})
	return stored
}
