package redislimit_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/redislimit"
)

// hourly is a rate of which a test sees nothing come back.
const hourly = 1.0 / 3600

// patient is a budget that a busy machine keeps.
const patient = 10 * time.Second

func clientOf(t *testing.T, opts *redis.Options) *redis.Client {
	t.Helper()
	opts.MaxRetries, opts.DialerRetries = -1, 1
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

func storeOf(t *testing.T, client redis.UniversalClient, opts redislimit.Options) *redislimit.Store {
	t.Helper()
	s, err := redislimit.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// gatewayOf returns a gateway whose only rule has a limit.
func gatewayOf(t *testing.T, limit router.Limit) *router.Router {
	t.Helper()
	rt, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)}, router.Rule{
		Name: "api", Limit: limit,
		To: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func ask(h http.Handler, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	// Of a client for each, who otherwise had sent too much under all of them.
	h32 := fnv.New32()
	fmt.Fprint(h32, key)
	r.RemoteAddr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(h32.Sum(nil))), 1).String()
	if key != "" {
		r.Header.Set("X-Api-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestGatewaysShareALimit: two, and all requests at once, let through together what one
// would, by key and by client, and nothing that a client has sent is in Redis.
func TestGatewaysShareALimit(t *testing.T) {
	_, clients := servertest.RedisCluster(t)
	addrs := map[string]redis.UniversalClient{
		"one server": clientOf(t, &redis.Options{Addr: servertest.Redis(t).Addr, ContextTimeoutEnabled: true}),
		"a cluster":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{clients[0].Options().Addr}, ContextTimeoutEnabled: true}),
	}
	for name, client := range addrs {
		t.Run(name, func(t *testing.T) {
			defer client.Close()
			var tier []*router.Router
			for range 2 {
				store := storeOf(t, client, redislimit.Options{Budget: patient})
				tier = append(tier, gatewayOf(t, router.Limit{Rate: hourly, Burst: 20, By: router.ByHeader("X-Api-Key"), Store: store}))
			}
			for _, key := range []string{"", "s3cret", "another"} {
				var served atomic.Int32
				var all sync.WaitGroup
				for i := range 60 {
					all.Go(func() {
						w := ask(tier[i%2], key)
						if w.Code == http.StatusOK {
							served.Add(1)
						} else if w.Header().Get("Retry-After") == "" {
							t.Errorf("%d without a Retry-After", w.Code)
						}
					})
				}
				all.Wait()
				if served.Load() != 20 {
					t.Errorf("key %q: %d were served, want 20", key, served.Load())
				}
				if got := ask(tier[0], key).Header().Get("RateLimit"); !strings.HasPrefix(got, `"api";r=0;t=`) {
					t.Errorf("RateLimit: %s", got)
				}
			}
		})
	}
	client := addrs["one server"]
	client = clientOf(t, client.(*redis.Client).Options())
	keys := client.Keys(t.Context(), "*").Val()
	if len(keys) != 3 {
		t.Errorf("keys %q, want 3", keys)
	}
	for _, key := range keys {
		ttl := client.TTL(t.Context(), key).Val()
		if strings.Contains(key, "s3cret") || len(key) > 64 || ttl < 19*time.Hour || ttl > 21*time.Hour {
			t.Errorf("key %q lives for %v", key, ttl)
		}
	}
}

// TestRedisIsAway: while it is stopped or gone each gateway's own account holds, nobody
// waits for long, and a line says so; once it is back it counts for all, and a line says so.
func TestRedisIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		heeds      bool
		away, back func(*servertest.Server)
	}{
		"stopped":                  {true, (*servertest.Server).Pause, (*servertest.Server).Resume},
		"stopped, a client waits":  {false, (*servertest.Server).Pause, (*servertest.Server).Resume},
		"killed":                   {true, (*servertest.Server).Kill, (*servertest.Server).Restart},
		"killed, a client retries": {false, (*servertest.Server).Kill, (*servertest.Server).Restart},
	} {
		t.Run(name, func(t *testing.T) {
			server, log := servertest.Redis(t), new(testkit.Log)
			var tier []*router.Router
			var stores []*redislimit.Store
			for range 2 {
				client := clientOf(t, &redis.Options{Addr: server.Addr, ContextTimeoutEnabled: c.heeds, ReadTimeout: 3 * time.Second})
				store := storeOf(t, client, redislimit.Options{Logger: log.Logger(), Budget: 100 * time.Millisecond})
				stores = append(stores, store)
				tier = append(tier, gatewayOf(t, router.Limit{Rate: hourly, Burst: 3, By: router.ByHeader("X-Api-Key"), Store: store}))
			}
			served := func(key string) (n int) {
				for i := range 10 {
					begin := time.Now()
					if ask(tier[i%2], key).Code == http.StatusOK {
						n++
					}
					if took := time.Since(begin); took > 2*time.Second {
						t.Errorf("a request took %v", took)
					}
				}
				return n
			}
			shared := func(what string) {
				t.Helper()
				n := 0
				testkit.Within(t, testkit.Patience, what+": one limit", func() bool {
					n++
					return served(fmt.Sprint(what, n)) == 3
				})
			}
			shared("before")
			c.away(server)
			t.Cleanup(server.Resume)
			for i := 0; !strings.Contains(log.String(), "does not answer") && i < 100; i++ {
				ask(tier[0], fmt.Sprint("away", i))
				ask(tier[1], fmt.Sprint("away", i))
			}
			log.Wants(t, "redislimit", "ERROR")
			if n := served("while it is away"); n != 6 {
				t.Errorf("two gateways alone served %d, want 3 each", n)
			}
			if r := stores[0].Report(); r.State != health.Degraded || r.Metrics[1].Value == 0 {
				t.Errorf("it reports %+v", r)
			}
			if n := strings.Count(log.String(), "does not answer"); n != 2 {
				t.Errorf("%d lines, want one of each gateway:\n%s", n, log)
			}
			c.back(server)
			shared("afterwards")
			log.Wants(t, "redislimit", "INFO", "together")
			testkit.Within(t, testkit.Patience, "it is well", func() bool {
				ask(tier[0], "well")
				return stores[0].Report().State == health.Up
			})
		})
	}
}

// TestForeignValues: what nobody here has written costs at most what one has to wait who
// has just sent all that may come at once, and what is no number is none.
func TestForeignValues(t *testing.T) {
	client := clientOf(t, &redis.Options{Addr: servertest.Redis(t).Addr, ContextTimeoutEnabled: true})
	store := storeOf(t, client, redislimit.Options{Prefix: "test", Budget: patient})
	for value, c := range map[string]struct {
		wait time.Duration
		left int
	}{
		"": {0, 4}, "garbage": {0, 4}, "nan": {0, 4}, "-1e300": {0, 4}, "0": {0, 4},
		"inf": {time.Hour, 0}, "1e300": {time.Hour, 0}, "99999999999999999999": {time.Hour, 0},
	} {
		if err := client.Set(t.Context(), "test:k", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		wait, left, err := store.Take(t.Context(), "k", time.Hour, 5)
		if err != nil || wait != c.wait || left != c.left {
			t.Errorf("%q: %v, %d, %v; want %v, %d", value, wait, left, err, c.wait, c.left)
		}
	}
	client.Del(t.Context(), "test:k")
	client.RPush(t.Context(), "test:k", "a")
	if _, _, err := store.Take(t.Context(), "k", time.Hour, 5); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("a list: %v", err)
	}
}

// TestExtremes: of rates and bursts that a Limit may have.
func TestExtremes(t *testing.T) {
	client := clientOf(t, &redis.Options{Addr: servertest.Redis(t).Addr, ContextTimeoutEnabled: true})
	store := storeOf(t, client, redislimit.Options{Budget: patient})
	for _, c := range []struct {
		every time.Duration
		burst int
	}{{1, 1 << 62}, {1, 1}, {24 * time.Hour, 1 << 62}, {24 * time.Hour, 1}, {time.Second / 3, 7}, {1 << 62, 1}, {1<<63 - 1, 1 << 62}} {
		account := fmt.Sprint(c)
		wait, left, err := store.Take(t.Context(), account, c.every, c.burst)
		if err != nil || wait != 0 || left < 0 || left >= c.burst {
			t.Errorf("%v: %v, %d, %v", c, wait, left, err)
		}
		wait, _, err = store.Take(t.Context(), account, c.every, c.burst)
		if err != nil || c.burst > 1 && c.every < time.Hour && wait != 0 || c.burst == 1 && c.every >= time.Hour && wait == 0 {
			t.Errorf("%v, again: %v, %v", c, wait, err)
		}
	}
	// It comes back by the server's clock.
	const every = 50 * time.Millisecond
	if _, _, err := store.Take(t.Context(), "soon", every, 1); err != nil {
		t.Fatal(err)
	}
	servertest.Until(t, "one more", func(ctx context.Context) error {
		wait, _, err := store.Take(ctx, "soon", every, 1)
		if err == nil && wait > every {
			t.Errorf("to wait %v, of %v", wait, every)
		}
		if err == nil && wait > 0 {
			return fmt.Errorf("to wait %v", wait)
		}
		return err
	})
}

func TestNew(t *testing.T) {
	if _, err := redislimit.New(nil, redislimit.Options{Budget: -1}); err == nil {
		t.Error("a negative Budget")
	}
}

func BenchmarkTake(b *testing.B) {
	client := redis.NewClient(&redis.Options{Addr: servertest.Redis(b).Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redislimit.New(client, redislimit.Options{Budget: patient})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := store.Take(b.Context(), "account", time.Millisecond, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
