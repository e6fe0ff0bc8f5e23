package redisstore_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/redisstore"
	"github.com/foretier/foretier/session/storetest"
)

func TestContract(t *testing.T) {
	server := servertest.Redis(t)
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: heeds})
			defer client.Close()
			store := redisstore.New(client)
			defer store.Close()
			storetest.Run(t, func(*testing.T) session.Store { return store })
		})
	}
}

func TestCheck(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	store := redisstore.New(client)
	for policy, want := range map[string]error{
		"noeviction": nil, "volatile-ttl": nil, "allkeys-lru": redisstore.ErrEvicts, "allkeys-random": redisstore.ErrEvicts,
	} {
		if err := client.ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		if err := store.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", policy, err, want)
		}
	}
	server.Kill()
	if err := store.Check(t.Context()); err == nil || errors.Is(err, redisstore.ErrEvicts) {
		t.Errorf("a dead server: %v", err)
	}
}

// TestRefusalsAndOutages tells a Redis that refuses one call from one that is of
// no use.
func TestRefusalsAndOutages(t *testing.T) {
	server := servertest.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	do := func(args ...any) func() {
		return func() {
			t.Helper()
			if err := admin.Do(t.Context(), args...).Err(); err != nil {
				t.Fatalf("%v: %v", args, err)
			}
		}
	}
	cases := map[string]struct {
		before, after func()
		want          error // of a change; nil: an outage
	}{
		"full":             {do("CONFIG", "SET", "maxmemory", "1"), do("CONFIG", "SET", "maxmemory", "0"), session.ErrFull},
		"without replicas": {do("CONFIG", "SET", "min-replicas-to-write", "1"), do("CONFIG", "SET", "min-replicas-to-write", "0"), session.ErrRefused},
		"a replica":        {do("REPLICAOF", "127.0.0.1", "1"), do("REPLICAOF", "NO", "ONE"), session.ErrRefused},
		"not allowed":      {do("ACL", "SETUSER", "app", "on", ">secret", "~*", "+get", "+evalsha", "+eval", "+hello", "+client"), func() {}, session.ErrRefused},
		"another password": {do("CONFIG", "SET", "requirepass", "new"), func() { admin.Do(t.Context(), "AUTH", "new"); do("CONFIG", "SET", "requirepass", "")() }, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.before()
			defer c.after()
			opts := &redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true}
			if name == "not allowed" {
				opts.Username, opts.Password = "app", "secret"
			}
			client := redis.NewClient(opts)
			defer client.Close()
			store := redisstore.New(client)
			err := store.Create(t.Context(), "s-"+strings.ReplaceAll(name, " ", "-"), []byte("a"), time.Minute)
			if c.want != nil && !errors.Is(err, c.want) || c.want == nil && (err == nil || errors.Is(err, session.ErrRefused) || errors.Is(err, session.ErrFull)) {
				t.Errorf("a change: %v, want %v", err, c.want)
			}
			if _, err := store.Load(t.Context(), "s-a"); (err == nil) != (c.want != nil) {
				t.Errorf("a look: %v", err)
			}
		})
	}
}

// TestAnAnswerIsLost: the client library sends again what it got no answer to. What was
// done then is known again; if somebody has changed it since, nobody knows, and it is no
// conflict, after which it would be done twice.
func TestAnAnswerIsLost(t *testing.T) {
	server := servertest.Redis(t)
	direct := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
	defer direct.Close()
	other := redisstore.New(direct)
	ctx := t.Context()
	load := func(key string) session.Record {
		t.Helper()
		records, err := other.Load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return records[0]
	}
	// lost is called once in place of an answer, after which the connection is cut.
	var lost atomic.Pointer[func()]
	addr := testkit.Backend(t, func(c net.Conn) {
		s := testkit.Dial(t, server.Addr)
		go func() {
			_, _ = io.Copy(s, c)
			_ = s.Close()
		}()
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			if f := lost.Swap(nil); err == nil && f != nil {
				(*f)()
				return
			}
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	defer client.Close()
	store := redisstore.New(client)
	if err := errors.Join(store.Create(ctx, "warm", nil, time.Minute), store.Update(ctx, "warm", load("warm"), nil, time.Minute)); err != nil {
		t.Fatal(err) // the scripts are there, so that each call is one command
	}
	for name, c := range map[string]struct {
		meanwhile func(key string)
		want      error
		holds     string
	}{
		"nobody else": {func(string) {}, nil, "mine"},
		"somebody else changes it": {func(key string) {
			if err := other.Update(ctx, key, load(key), append(load(key).Data, " and theirs"...), time.Minute); err != nil {
				t.Error(err)
			}
		}, session.ErrUnknown, "mine and theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			if err := store.Create(ctx, key, nil, time.Minute); err != nil {
				t.Fatal(err)
			}
			first := load(key)
			meanwhile := func() { c.meanwhile(key) }
			lost.Store(&meanwhile)
			if err := store.Update(ctx, key, first, []byte("mine"), time.Minute); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got := string(load(key).Data); lost.Load() != nil || got != c.holds {
				t.Errorf("holds %q, want %q", got, c.holds)
			}
			if err := store.Update(ctx, key, first, nil, time.Minute); !errors.Is(err, session.ErrConflict) {
				t.Errorf("a conflict: %v", err)
			}
		})
	}
}

// TestUnreadable: what no session store wrote is unreadable, whatever it is,
// and of several keys too.
func TestUnreadable(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	store := redisstore.New(client)
	if err := errors.Join(client.Set(t.Context(), "session:short", "short", 0).Err(), client.LPush(t.Context(), "session:list", "a").Err(),
		store.Create(t.Context(), "good", []byte("a"), time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]string{{"short"}, {"list"}, {"good", "short"}, {"list", "good"}, {"absent", "list"}} {
		if _, err := store.Load(t.Context(), keys...); !errors.Is(err, session.ErrUnreadable) {
			t.Errorf("%q: %v", keys, err)
		}
	}
	server.Kill()
	for _, keys := range [][]string{{"short"}, {"good", "short"}} {
		if _, err := store.Load(t.Context(), keys...); err == nil || errors.Is(err, session.ErrUnreadable) {
			t.Errorf("%q of a dead server: %v", keys, err)
		}
	}
}
