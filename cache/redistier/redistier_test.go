package redistier_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/feedtest"
	"github.com/foretier/foretier/cache/redistier"
	"github.com/foretier/foretier/cache/storetest"
	"github.com/foretier/foretier/internal/servertest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it has a line for each failed connection
	m.Run()
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// patient is a budget for machines that do something else beside the tests.
const patient = 5 * time.Second

// join returns a log on Redis, of a prefix of its own.
func join(t *testing.T, client redis.UniversalClient, budget time.Duration) feedtest.Log {
	prefix := "test:" + strings.ReplaceAll(t.Name(), " ", "_")
	return func(gateway string) cache.Feed {
		return newTier(t, client, redistier.Options{Gateway: gateway, Prefix: prefix, Budget: budget})
	}
}

// tierOf returns a Tier that others share, if they like.
func tierOf(t *testing.T, client redis.UniversalClient, budget time.Duration) *redistier.Tier {
	return newTier(t, client, redistier.Options{Prefix: "test", Budget: budget})
}

func newTier(t *testing.T, client redis.UniversalClient, opts redistier.Options) *redistier.Tier {
	tier, err := redistier.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tier.Close(); err != nil {
			t.Error(err)
		}
	})
	return tier
}

func open(t *testing.T, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestContract(t *testing.T) {
	server := servertest.Redis(t)
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: heeds})
			t.Cleanup(func() { client.Close() })
			feedtest.Run(t, func(t *testing.T) feedtest.Log { return join(t, client, patient) })
			storetest.Run(t, func(t *testing.T) cache.Store { return tierOf(t, client, patient) })
		})
	}
}

// TestLosses: whatever has become of Redis, its log is not followed as if nothing had.
func TestLosses(t *testing.T) {
	cases := map[string]func(t *testing.T, server *servertest.Server, client *redis.Client){
		"FLUSHALL": func(t *testing.T, _ *servertest.Server, client *redis.Client) { do(t, client, "flushall") },
		"a restart without data": func(t *testing.T, server *servertest.Server, _ *redis.Client) {
			server.Kill()
			server.Restart()
		},
		"the log is evicted":   func(t *testing.T, _ *servertest.Server, client *redis.Client) { remove(t, client, ":log") },
		"its epoch is evicted": func(t *testing.T, _ *servertest.Server, client *redis.Client) { remove(t, client, ":run") },
		"a restart from an old dump": func(t *testing.T, server *servertest.Server, client *redis.Client) {
			server.Kill() // the dump was made below
			server.Restart()
		},
	}
	for name, lose := range cases {
		t.Run(name, func(t *testing.T) {
			server := servertest.Redis(t)
			client := open(t, server.Addr)
			log := join(t, client, patient)
			if strings.Contains(name, "dump") {
				for range 3 {
					if _, err := log("before").Append(t.Context(), []byte("old")); err != nil {
						t.Fatal(err)
					}
				}
				do(t, client, "save")
			}
			feedtest.Lost(t, log, func() { lose(t, server, client) })
		})
	}
}

func do(t *testing.T, client *redis.Client, args ...any) {
	t.Helper()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// remove deletes the keys that end so.
func remove(t *testing.T, client *redis.Client, suffix string) {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*"+suffix).Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
	do(t, client, "del", keys[0])
}

// TestPromotion: what a replica that takes over has not got yet is lost. One that has
// all cannot be told from it.
func TestPromotion(t *testing.T) {
	for name, lags := range map[string]bool{"a replica that has all": false, "one that lags": true} {
		t.Run(name, func(t *testing.T) {
			master := servertest.Redis(t)
			_, port, err := net.SplitHostPort(master.Addr)
			if err != nil {
				t.Fatal(err)
			}
			replica := servertest.Redis(t, "--replicaof", "127.0.0.1", port)
			second := open(t, replica.Addr)
			servertest.Until(t, "the replica to be in step", func(ctx context.Context) error {
				info, err := second.Info(ctx, "replication").Result()
				if err == nil && !strings.Contains(info, "master_link_status:up") {
					err = errors.New(info)
				}
				return err
			})
			// The name of the master, by which a sentinel or a cluster would know it.
			var addr atomic.Value
			addr.Store(master.Addr)
			client := redis.NewClient(&redis.Options{
				Addr: "master:1", ContextTimeoutEnabled: true,
				Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr.Load().(string))
				},
			})
			t.Cleanup(func() { client.Close() })
			log := join(t, client, patient)
			if _, err := log("before").Append(t.Context(), []byte("old")); err != nil {
				t.Fatal(err)
			}
			wait := func() {
				if n, err := client.Do(t.Context(), "wait", 1, 10000).Int(); err != nil || n != 1 {
					t.Fatalf("not replicated: %d, %v", n, err)
				}
			}
			wait()
			promote := func() { do(t, second, "replicaof", "no", "one") }
			pages := tierOf(t, client, patient)
			if err := pages.Save(t.Context(), "page", []byte("old"), time.Hour); err != nil {
				t.Fatal(err)
			}
			wait()
			if lags {
				promote() // it hears nothing of what is acknowledged from now on
			}
			feedtest.Lost(t, log, func() {
				if !lags {
					wait()
					promote()
				}
				master.Kill()
				addr.Store(replica.Addr)
				keys := second.Keys(t.Context(), "*:log").Val()
				if n, err := second.XLen(t.Context(), keys[0]).Result(); err != nil || n != map[bool]int64{true: 2, false: 4}[lags] {
					t.Errorf("the replica has %d entries, %v", n, err)
				}
			})
			if data, err := pages.Load(t.Context(), "page"); err != nil || string(data) != "old" {
				t.Errorf("the replica has %q, %v", data, err)
			}
			storetest.Run(t, func(t *testing.T) cache.Store { return pages })
		})
	}
}

// TestCluster runs the contract on a cluster of three, all keys of a log in one slot.
func TestCluster(t *testing.T) {
	addrs, clients := servertest.RedisCluster(t)
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	feedtest.Run(t, func(t *testing.T) feedtest.Log { return join(t, client, patient) })
	storetest.Run(t, func(t *testing.T) cache.Store { return tierOf(t, client, patient) })
	for i, c := range clients { // no two keys of pages need one server
		if keys, err := c.Keys(t.Context(), "*:page:*").Result(); err != nil || len(keys) == 0 {
			t.Errorf("server %d has %d pages, %v", i, len(keys), err)
		}
	}
}

// TestTrimming: the log stays about as long as it is to be, and who was away for longer
// is told.
func TestTrimming(t *testing.T) {
	client := open(t, servertest.Redis(t).Addr)
	tier, err := redistier.New(client, redistier.Options{Prefix: "trim", Entries: 200, Budget: patient})
	if err != nil {
		t.Fatal(err)
	}
	first, err := tier.Append(t.Context(), []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	var last cache.Position
	for i := range 1000 {
		if last, err = tier.Append(t.Context(), fmt.Appendf(nil, "entry %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := client.XLen(t.Context(), "{trim}:log").Result(); err != nil || n > 400 {
		t.Errorf("%d entries, %v", n, err)
	}
	for after, want := range map[cache.Position]error{first: cache.ErrGap, last - 100: nil, 0: nil} {
		for _, err := range tier.Follow(t.Context(), after) {
			if !errors.Is(err, want) {
				t.Errorf("after %d: %v", after, err)
			}
			break
		}
	}
}

// TestAHungServerIsBounded: calls take no longer than their budget, and after some
// that failed none is made for a moment.
func TestAHungServerIsBounded(t *testing.T) {
	server := servertest.Redis(t)
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: heeds, ReadTimeout: 20 * time.Second})
			t.Cleanup(func() { client.Close() })
			feed := join(t, client, 25*time.Millisecond)("a")
			servertest.Until(t, "the first call", func(ctx context.Context) error {
				_, err := feed.Append(ctx, []byte("x"))
				return err
			})
			server.Pause()
			defer server.Resume()
			begin := time.Now()
			for range 200 {
				if _, err := feed.Append(t.Context(), []byte("y")); err == nil && time.Since(begin) > 5*time.Second { // it may stop a moment later
					t.Fatal("a server that is stopped answers")
				}
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("200 calls took %v", took)
			}
		})
	}
}

// TestForeignKeys: what is not the tier's is left alone, and said.
func TestForeignKeys(t *testing.T) {
	client := open(t, servertest.Redis(t).Addr)
	feed := join(t, client, patient)("a")
	prefix := "{test:" + t.Name() + "}"
	do(t, client, "set", prefix+":log", "mine")
	if _, err := feed.Append(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Append: %v", err)
	}
	if got := client.Get(t.Context(), prefix+":log").Val(); got != "mine" {
		t.Errorf("the key is %q", got)
	}
	do(t, client, "del", prefix+":log")
	last, err := feed.Announce(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	do(t, client, "xadd", prefix+":log", "*", "a", "b")
	for e, err := range feed.Follow(t.Context(), last) {
		if err == nil {
			t.Errorf("got %q", e.Data)
		}
		break
	}
}

func TestCheck(t *testing.T) {
	server := servertest.Redis(t)
	client := open(t, server.Addr)
	tier, err := redistier.New(client, redistier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for policy, want := range map[string]error{
		"noeviction": nil, "volatile-lru": nil, "allkeys-lru": redistier.ErrEvicts, "allkeys-random": redistier.ErrEvicts,
	} {
		do(t, client, "config", "set", "maxmemory-policy", policy)
		if err := tier.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", policy, err, want)
		}
	}
	do(t, client, "config", "set", "maxmemory", "64mb")
	for policy, want := range map[string]error{"noeviction": redistier.ErrFills, "volatile-lru": nil} {
		do(t, client, "config", "set", "maxmemory-policy", policy)
		if err := tier.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s, and a maxmemory: got %v, want %v", policy, err, want)
		}
	}
	server.Kill()
	if err := tier.Check(t.Context()); err == nil || errors.Is(err, redistier.ErrEvicts) {
		t.Errorf("a dead server: %v", err)
	}
}

func TestOptions(t *testing.T) {
	client := open(t, "127.0.0.1:1")
	for name, opts := range map[string]redistier.Options{
		"braces": {Prefix: "a{b}"}, "entries": {Entries: -1}, "budget": {Budget: -1},
	} {
		if _, err := redistier.New(client, opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
