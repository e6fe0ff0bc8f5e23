package redisstore_test

import (
	"context"
	"errors"
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/redisstore"
)

func Example() {
	// One address is one server, several are a cluster, and with MasterName
	// they are sentinels.
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"10.0.0.5:6379"}, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store := redisstore.New(client)
	if err := store.Check(context.Background()); errors.Is(err, redisstore.ErrEvicts) {
		log.Print(err)
	}
	sessions, err := session.New(store, session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	_ = sessions.Handler(http.NotFoundHandler())
}
