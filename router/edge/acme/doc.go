// Package acme has certificates issued by an authority such as Let's Encrypt, and
// renewed in time (ACME, RFC 8555), over certmagic:
//
//	issued, err := acme.New(acme.Options{
//		Hosts:   []string{"shop.example", "www.shop.example"},
//		Storage: acme.Folder("/var/lib/shop/acme"),
//		Email:   "ops@shop.example",
//	})
//	...
//	plain, err := edge.New(issued.Handler(edge.HTTPSRedirect()), edge.Options{Addr: ":80"})
//	...
//	secure, err := edge.New(shop, edge.Options{Addr: ":443", Issuer: issued})
//	...
//	err = secure.Run(ctx, apps, edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
//
// Several gateways that share a [Storage], a folder or Redis, have one certificate for
// each host: one of them orders it, and whichever the authority asks answers, by HTTP
// at port 80 or by TLS at port 443. Until a certificate is issued, and for other
// names, clients get one of edge.Options.Certificates, if there are any. An
// authority that is down, or a storage, ends nothing: what is there is served on, and
// the report says what is wrong.
//
// Using it means to agree to the terms of the authority.
package acme
