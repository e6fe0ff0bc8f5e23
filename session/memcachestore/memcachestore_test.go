package memcachestore_test

import (
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/memcachestore"
	"github.com/foretier/foretier/session/storetest"
)

func TestContract(t *testing.T) {
	server := servertest.Memcached(t)
	client := memcache.New(server.Addr)
	client.MaxIdleConns = 32
	defer client.Close()
	store := memcachestore.New(client)
	defer store.Close()
	storetest.Run(t, func(*testing.T) session.Store { return store })
}
