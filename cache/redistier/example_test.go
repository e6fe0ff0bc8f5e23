package redistier_test

import (
	"context"
	"errors"
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/redistier"
)

func Example() {
	// One address is one server, several are a cluster, and with MasterName
	// they are sentinels.
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"10.0.0.6:6379"}, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	tier, err := redistier.New(client, redistier.Options{Gateway: "gw1"})
	if err != nil {
		log.Fatal(err)
	}
	defer tier.Close()
	if err := tier.Check(context.Background()); errors.Is(err, redistier.ErrEvicts) || errors.Is(err, redistier.ErrFills) {
		log.Print(err)
	}
	pages, err := cache.New(cache.Options{Feed: tier, Store: tier})
	if err != nil {
		log.Fatal(err)
	}
	_ = pages.Handler(http.NotFoundHandler()) // and pages.Run, beside the server
}
