package php_test

import (
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/session/php"
)

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "10.0.0.5:6379"})
	visitors, err := php.New(php.Magento(client), php.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer visitors.Close()

	// In the tier's rules: router.Test("member", member) takes such requests
	// past the cache.
	member := visitors.Has("customer_base/customer_id", "checkout/quote_id_1")
	_ = member
}
