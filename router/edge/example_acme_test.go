package edge_test

import (
	"context"
	"log"
	"net/http"

	"golang.org/x/crypto/acme/autocert"

	"github.com/foretier/foretier/router/edge"
)

// Certificates from an ACME authority such as Let's Encrypt: autocert answers
// its challenges on port 80, where everything else is redirected, and on 443.
// Several tiers before one shop must share the Cache.
func Example_acme() {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache("/var/lib/shop/acme"),
		HostPolicy: autocert.HostWhitelist("shop.example", "www.shop.example"), // never without one
	}
	var shop http.Handler = http.NotFoundHandler()

	plain, err := edge.New(manager.HTTPHandler(edge.HTTPSRedirect()), edge.Options{Addr: ":80"})
	if err != nil {
		log.Fatal(err)
	}
	secure, err := edge.New(shop, edge.Options{Addr: ":443", TLS: manager.TLSConfig()})
	if err != nil {
		log.Fatal(err)
	}
	err = secure.Run(context.Background(), edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
	if err != nil {
		log.Fatal(err)
	}
}
