package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/redisstore"
	"github.com/foretier/foretier/session/storetest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it has a line for each failed connection
	m.Run()
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func port(t *testing.T, s *servertest.Server) int {
	t.Helper()
	_, text, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCluster runs the contract on a cluster of three, and a login whose
// session and subject are kept by different servers.
func TestCluster(t *testing.T) {
	addrs, clients := servertest.RedisCluster(t)
	ctx := t.Context()
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	defer client.Close()
	storetest.Run(t, func(*testing.T) session.Store { return redisstore.New(client) })

	// Enough keys that each server has some: none may need two servers at once
	// for one command.
	store := redisstore.New(client)
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("k-%d", i))
		if err := store.Create(ctx, keys[i], []byte(keys[i]), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	records, err := store.Load(ctx, keys...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if string(r.Data) != keys[i] {
			t.Errorf("%s: got %q", keys[i], r.Data)
		}
	}
	for i, c := range clients {
		if n, err := c.DBSize(ctx).Result(); err != nil || n == 0 {
			t.Errorf("server %d has %d keys, %v", i, n, err)
		}
	}
}

// TestSentinelFailover kills the master: once the replica has been promoted,
// sessions are there and can be changed.
func TestSentinelFailover(t *testing.T) {
	master := servertest.Redis(t)
	replica := servertest.Redis(t, "--replicaof", "127.0.0.1", strconv.Itoa(port(t, master)))
	sentinelPort := servertest.FreePort(t)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 5000\n", sentinelPort, port(t, master))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := servertest.Start(t, sentinelPort, "redis-server", config, "--sentinel")

	ask := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr})
	defer ask.Close()
	servertest.Until(t, "the sentinel to know the replica", func(ctx context.Context) error {
		replicas, err := ask.Replicas(ctx, "shop").Result()
		if err == nil && (len(replicas) != 1 || replicas[0]["master-link-status"] != "ok") {
			err = fmt.Errorf("replicas: %v", replicas)
		}
		return err
	})

	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{sentinel.Addr}, MasterName: "shop", ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store := redisstore.New(client)
	ctx := t.Context()
	if err := store.Create(ctx, "before", []byte("cart"), time.Minute); err != nil {
		t.Fatal(err)
	}
	// Failover is asynchronous: what the replica has not got yet is lost.
	if n, err := client.Do(ctx, "wait", 1, 10000).Int(); err != nil || n != 1 {
		t.Fatalf("not replicated: %d, %v", n, err)
	}
	master.Kill()
	budget := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Second)
	}
	servertest.Until(t, "the failover", func(ctx context.Context) error {
		ctx, cancel := budget(ctx)
		defer cancel()
		records, err := store.Load(ctx, "before")
		switch {
		case err != nil:
			return err
		case string(records[0].Data) != "cart":
			t.Fatalf("got %q", records[0].Data)
		}
		return store.Update(ctx, "before", records[0], []byte("bigger cart"), time.Minute)
	})
	direct := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer direct.Close()
	if value, err := direct.Get(ctx, "session:before").Result(); err != nil || !strings.HasSuffix(value, "bigger cart") {
		t.Errorf("the promoted server has %q, %v", value, err)
	}
	storetest.Run(t, func(*testing.T) session.Store { return store })
}

// A lossy connection delivers a command, and then loses its answer once.
type lossy struct {
	net.Conn
	lose *bool
}

func (c lossy) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil && *c.lose && strings.Contains(strings.ToLower(string(p)), "eval") {
		*c.lose = false
		one := make([]byte, 1)
		_, _ = c.Conn.Read(one) // executed by now
		_ = c.Conn.Close()
	}
	return n, err
}

// TestALostAnswer: the client library sends a command again whose answer got
// lost. It must not find that somebody else was faster: it was itself.
func TestALostAnswer(t *testing.T) {
	server := servertest.Redis(t)
	lose := false
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr, ContextTimeoutEnabled: true, PoolSize: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return lossy{conn, &lose}, err
		},
	})
	defer client.Close()
	store := redisstore.New(client)
	ctx := t.Context()
	if err := store.Create(ctx, "warm", nil, time.Minute); err != nil { // loads the script
		t.Fatal(err)
	}
	lose = true
	if err := store.Create(ctx, "a", []byte("1"), time.Minute); err != nil || lose {
		t.Fatalf("Create: %v, lost %t", err, !lose)
	}
	for _, data := range []string{"2", "3"} {
		records, err := store.Load(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		lose = data == "3" // the first loads the script
		if err := store.Update(ctx, "a", records[0], []byte(data), time.Minute); err != nil || lose {
			t.Fatalf("Update to %s: %v, lost %t", data, err, !lose)
		}
	}
	if records, err := store.Load(ctx, "a"); err != nil || string(records[0].Data) != "3" {
		t.Errorf("got %+v, %v", records, err)
	}
}

// TestAHungServerIsBounded: a hung server keeps nobody beyond the
// deadline, whatever the client's own timeouts are.
func TestAHungServerIsBounded(t *testing.T) {
	server := servertest.Redis(t)
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: heeds, ReadTimeout: 20 * time.Second})
			defer client.Close()
			store := redisstore.New(client)
			if err := store.Create(t.Context(), "a"+strconv.FormatBool(heeds), nil, time.Minute); err != nil {
				t.Fatal(err)
			}
			server.Pause()
			var err error
			for begin := time.Now(); err == nil && time.Since(begin) < 20*time.Second; { // it may stop a moment later
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				start := time.Now()
				_, err = store.Load(ctx, "a")
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				cancel()
			}
			if !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
				t.Errorf("got %v", err)
			}
			server.Resume()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// TestForeignValue: a value that no session store wrote is an error that says
// what to do, and is not overwritten.
func TestForeignValue(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	store := redisstore.New(client)
	defer store.Close()
	if err := client.Set(t.Context(), "session:a", "short", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "a Redis of its own") {
		t.Errorf("got %v", err)
	}
	if err := store.Create(t.Context(), "a", nil, time.Minute); !errors.Is(err, session.ErrExists) {
		t.Errorf("Create: %v", err)
	}
}
