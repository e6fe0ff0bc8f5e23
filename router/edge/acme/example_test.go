package acme_test

import (
	"context"
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/acme"
	"github.com/foretier/foretier/router/edge/acme/redisstorage"
)

// Two gateways that share what is issued through Redis. Names that are not among
// Hosts, a wildcard's for one, get the certificate from the files.
func Example() {
	issued, err := acme.New(acme.Options{
		Hosts:   []string{"shop.example", "www.shop.example"},
		Storage: redisstorage.New(redis.NewClient(&redis.Options{Addr: "10.0.0.20:6379", ContextTimeoutEnabled: true}), ""),
		Email:   "ops@shop.example",
	})
	if err != nil {
		log.Fatal(err)
	}
	own, err := edge.Certificates("/etc/shop/wildcard.crt", "/etc/shop/wildcard.key")
	if err != nil {
		log.Fatal(err)
	}
	plain, err := edge.New(issued.Handler(edge.HTTPSRedirect()), edge.Options{Addr: ":80"})
	if err != nil {
		log.Fatal(err)
	}
	var shop http.Handler = http.NotFoundHandler()
	secure, err := edge.New(shop, edge.Options{Addr: ":443", Issuer: issued, Certificates: own})
	if err != nil {
		log.Fatal(err)
	}
	err = secure.Run(context.Background(), edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
	if err != nil {
		log.Fatal(err)
	}
}
