// Package balancer holds a pool of backends: who gets a request, and what
// happens when that fails.
//
// A [Pool] is an [http.Handler], a reverse proxy, and an [http.RoundTripper]; either
// picks a backend, tries it, and tries another one while the client has not seen a
// byte. The proxy writes a request to its backend's connection as it stands, and reads
// the answer straight into the header of the client's. [net/http/httputil.ReverseProxy], above
// the RoundTripper, serves upgrades and what [Options.Rewrite] is given. It is not a
// router: every request that it gets goes to one of its backends. Connections
// of other protocols are carried by package tcp below this one, and the way to servers of
// FastCGI, such as php-fpm, is package fcgi's.
//
// Slow clients hold no backend: a response is read ahead of one that falls behind,
// and a request's body before a backend is picked, up to 1 MiB of each in memory
// and what is longer on the disk. What there is no room for goes through as it
// comes: see [Spool]. Event streams, gRPC, upgrades and answers with
// "X-Accel-Buffering: no" always do.
//
// A backend that answered HTTP/1.0 knows no chunks: an upload of unknown length
// is read to its end, as far as there is room for it in the same memory and on the
// same disk, and sent with a length. What is longer is answered with 411.
//
// NTLM and Negotiate (RFC 4559) log in a connection where other schemes log in
// a request. A connection to a backend is everybody's, so one on which a
// request brought such credentials, or an answer offered them or told of them,
// is closed after the answer; over HTTP/2 such a request has a connection of its
// own. Negotiate with Kerberos, which is done in one request, works through a
// pool. NTLM, which takes three on one connection, does not: its clients want
// package balancer/tcp, or another scheme.
//
//	pool, err := balancer.New(balancer.Backends("http://10.0.0.11:8080", "http://10.0.0.12:8080"), balancer.Options{
//		Probe: health.HTTP("/healthz"),
//	})
//	if err != nil {
//		return err
//	}
//	go pool.Run(ctx) // probes; without it the pool learns from its requests alone
//	return http.ListenAndServe(":8080", pool)
package balancer
