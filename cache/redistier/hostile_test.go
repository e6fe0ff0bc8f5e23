package redistier_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/redistier"
	"github.com/foretier/foretier/internal/servertest"
)

// TestHostileRedis: whatever becomes of Redis and of what is in it, no gateway serves an
// older price as fresh than that of which a purge said that all have applied it, and no
// GET fails. FORETIER_HOSTILE=10m has it last longer than
// three seconds.
func TestHostileRedis(t *testing.T) {
	limit := 3 * time.Second
	if s := os.Getenv("FORETIER_HOSTILE"); s != "" {
		var err error
		if limit, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	const shelves = 20
	log, pages := servertest.Redis(t), servertest.Redis(t)
	var prices [shelves]atomic.Int64
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var shelf int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &shelf)
		price := prices[shelf].Load()
		w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=10")
		if shelf%2 == 0 {
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("Vary", "X-Currency")
		}
		fmt.Fprint(w, price, strings.Repeat(" ", shelf*5000))
	})
	var tier []*gateway
	for i := range 3 {
		tier = append(tier, startGateway(t, fmt.Sprint(i), log, pages, backend))
	}

	var known [shelves]atomic.Int64
	var visits, hits atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var doing sync.WaitGroup
	for i := range 8 {
		doing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				shelf, g := r.IntN(shelves), tier[r.IntN(len(tier))]
				least := known[shelf].Load()
				q := httptest.NewRequest("GET", fmt.Sprintf("http://shop.example/%d?%d", shelf, r.IntN(50)), nil)
				q.Header.Set("X-Currency", []string{"EUR", "CHF"}[r.IntN(2)])
				w, c := httptest.NewRecorder(), g.cache.Load()
				func() {
					defer func() {
						if v := recover(); v != nil && v != http.ErrAbortHandler {
							panic(v)
						}
					}()
					g.front.Load().(http.Handler).ServeHTTP(w, q)
				}()
				if c != g.cache.Load() {
					continue // it was ended meanwhile, and its fetches with it
				}
				var price int64
				if _, err := fmt.Sscan(w.Body.String(), &price); w.Code != 200 || err != nil {
					t.Errorf("%d %.20q", w.Code, w.Body)
				}
				status := w.Header().Get("Cache-Status")
				visits.Add(1)
				if strings.Contains(status, "second level") {
					hits.Add(1)
				}
				if price < least && !strings.Contains(status, "stale") && !strings.Contains(status, "ttl=-") {
					t.Errorf("gateway %s serves %d of %d as fresh, after %d: %s", g.name, price, shelf, least, status)
				}
			}
		})
	}
	doing.Go(func() { // editors
		r := rand.New(rand.NewPCG(7, 1))
		for ctx.Err() == nil {
			shelf, g := r.IntN(shelves), tier[r.IntN(len(tier))]
			price := prices[shelf].Add(1)
			c := g.cache.Load()
			done, err := c.Invalidate(ctx, cache.Invalidation{Host: "shop.example", PathPrefix: fmt.Sprint("/", shelf), Hard: r.IntN(2) == 0})
			if err == nil && everywhere(ctx, tier, done.Position) {
				known[shelf].Store(price)
			}
		}
	})
	r := rand.New(rand.NewPCG(8, 1))
	at := func(s *servertest.Server) *redis.Client { return redis.NewClient(&redis.Options{Addr: s.Addr}) }
	onPages, onLog := at(pages), at(log)
	defer onPages.Close()
	defer onLog.Close()
	for ctx.Err() == nil {
		attack(ctx, t, r, onPages, onLog, pages, log)
		if r.IntN(4) == 0 { // a cold one
			i := r.IntN(len(tier))
			tier[i].restart(t, log, pages, backend)
		}
		rest(ctx, time.Duration(r.IntN(100))*time.Millisecond)
	}
	doing.Wait()
	t.Logf("%d visits, %d from the second level", visits.Load(), hits.Load())
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// everywhere waits for a moment until all gateways have applied a position.
func everywhere(ctx context.Context, tier []*gateway, p cache.Position) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, g := range tier {
		c := g.cache.Load()
		if c.Synced(ctx, p) != nil || c != g.cache.Load() {
			return false
		}
	}
	return true
}

// attack does something that nobody should.
func attack(ctx context.Context, t *testing.T, r *rand.Rand, onPages, onLog *redis.Client, pages, log *servertest.Server) {
	keys := onPages.Keys(ctx, "*:page:*").Val()
	key := func() string { return keys[r.IntN(len(keys))] }
	n := r.IntN(5)
	if r.IntN(30) == 0 { // after an outage it is left alone for a while
		n = 5 + r.IntN(7)
	}
	if len(keys) < 2 && n < 5 {
		return
	}
	switch n {
	case 0, 1: // flips bits
		data := []byte(onPages.Get(ctx, key()).Val())
		if len(data) > 0 {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
			onPages.Set(ctx, key(), data, time.Minute)
		}
	case 2: // puts one's in another's place
		onPages.Set(ctx, key(), onPages.Get(ctx, key()).Val(), time.Minute)
	case 3:
		onPages.Append(ctx, key(), strings.Repeat("x", r.IntN(3<<20)))
	case 4:
		k := key()
		onPages.Del(ctx, k)
		onPages.RPush(ctx, k, "a")
	case 5:
		onPages.FlushAll(ctx)
	case 6:
		onPages.ConfigSet(ctx, "maxmemory", []string{"0", "1mb", "2mb"}[r.IntN(3)])
		onPages.ConfigSet(ctx, "maxmemory-policy", []string{"noeviction", "allkeys-random", "volatile-lru"}[r.IntN(3)])
	case 7:
		pages.Pause()
		rest(ctx, time.Duration(r.IntN(1000))*time.Millisecond)
		pages.Resume()
	case 8:
		pages.Kill()
		pages.Restart()
	case 9:
		onPages.Do(ctx, "client", "kill", "type", "normal")
		onLog.Do(ctx, "client", "kill", "type", "normal")
	case 10:
		onPages.Do(ctx, "replicaof", "127.0.0.1", "1")
		rest(ctx, 300*time.Millisecond)
		onPages.Do(ctx, "replicaof", "no", "one")
	case 11:
		if r.IntN(3) == 0 {
			onLog.FlushAll(ctx)
		}
	}
}

// A gateway is a cache that is started anew now and then.
type gateway struct {
	name  string
	cache atomic.Pointer[cache.Cache]
	front atomic.Value
	stop  func()
}

func startGateway(t *testing.T, name string, log, pages *servertest.Server, backend http.Handler) *gateway {
	g := &gateway{name: name}
	g.restart(t, log, pages, backend)
	t.Cleanup(func() { g.stop() })
	return g
}

func (g *gateway) restart(t *testing.T, log, pages *servertest.Server, backend http.Handler) {
	tierOn := func(s *servertest.Server) (*redistier.Tier, *redis.Client) {
		client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
		tier, err := redistier.New(client, redistier.Options{Gateway: g.name})
		if err != nil {
			t.Fatal(err)
		}
		return tier, client
	}
	feed, a := tierOn(log)
	store, b := tierOn(pages)
	c, err := cache.New(cache.Options{Feed: feed, Store: store, MaxBytes: 16 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	old := g.stop
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	g.cache.Store(c)
	g.front.Store(c.Handler(backend))
	g.stop = func() { cancel(); <-done; a.Close(); b.Close() }
	if old != nil {
		old()
	}
}
