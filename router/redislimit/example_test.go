package redislimit_test

import (
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/redislimit"
)

func Example() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"10.0.0.6:6379"}, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
	})
	defer client.Close()
	shared, err := redislimit.New(client, redislimit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer shared.Close()
	// 5 requests a second for each key, whichever gateway they come to.
	api := router.Limit{Rate: 5, Burst: 20, By: router.ByHeader("X-Api-Key"), Store: shared}
	_, err = router.New(router.Options{},
		router.Rule{Name: "api", When: router.Path("/api/*"), To: http.NotFoundHandler(), Limit: api},
		router.Rule{Name: "shop", To: http.NotFoundHandler()},
	)
	if err != nil {
		log.Fatal(err)
	}
}
