package session_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/memcachestore"
	"github.com/foretier/foretier/session/redisstore"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it has a line for each failed connection
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left after the tests:\n%s", left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the goroutines of ours that are still there a while after all
// tests have ended, or "".
func leaked() string {
	http.DefaultClient.CloseIdleConnections()
	stacks := make([]byte, 1<<20)
	for range 100 {
		ours := ""
		for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "foretier/") && !strings.Contains(g, "leaked()") {
				ours += g + "\n\n"
			}
		}
		if ours == "" {
			return ""
		}
		time.Sleep(50 * time.Millisecond) // they end by themselves, or never
	}
	return string(stacks[:runtime.Stack(stacks, true)])
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// redisStore returns a store on server, with a client of its own.
func redisStore(t *testing.T, server *servertest.Server) session.Store {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, PoolSize: 50})
	t.Cleanup(func() { client.Close() })
	return redisstore.New(client)
}

func memcachedStore(t *testing.T, server *servertest.Server) session.Store {
	client := memcache.New(server.Addr)
	client.MaxIdleConns = 200
	t.Cleanup(func() { client.Close() })
	return memcachestore.New(client)
}

// onEachStore runs test on every kind of store. open returns another client of
// the same one, as another machine would have it.
func onEachStore(t *testing.T, test func(t *testing.T, open func() session.Store)) {
	t.Run("memory", func(t *testing.T) {
		store := session.Memory()
		test(t, func() session.Store { return store })
	})
	t.Run("redis", func(t *testing.T) {
		server := servertest.Redis(t)
		test(t, func() session.Store { return redisStore(t, server) })
	})
	t.Run("memcached", func(t *testing.T) {
		server := servertest.Memcached(t, "-c", "1024")
		test(t, func() session.Store { return memcachedStore(t, server) })
	})
}
