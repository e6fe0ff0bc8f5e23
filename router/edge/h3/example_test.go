package h3_test

import (
	"context"
	"log"
	"net/http"

	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/h3"
)

// A shop over HTTP/1.1, HTTP/2 and HTTP/3, at port 443 of TCP and of UDP.
func Example() {
	certs, err := edge.Certificates("/etc/shop/shop.crt", "/etc/shop/shop.key")
	if err != nil {
		log.Fatal(err)
	}
	quic, err := h3.New(h3.Options{Addr: ":443"})
	if err != nil {
		log.Fatal(err)
	}
	var shop http.Handler = http.NotFoundHandler()
	srv, err := edge.New(shop, edge.Options{Addr: ":443", Certificates: certs, HTTP3: quic})
	if err != nil {
		log.Fatal(err)
	}
	if err := srv.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
