package redisstore_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
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
