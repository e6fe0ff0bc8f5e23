package redisstore_test

import (
	"errors"
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
