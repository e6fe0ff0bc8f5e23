// Package edge is the listening end of a front tier: it bounds what a client may
// send and how slowly, knows who the client is behind trusted proxies, cleans
// what a client may not claim, writes one log line for each request, and
// drains before it ends.
//
//	srv, err := edge.New(front, edge.Options{Addr: ":8080"})
//	...
//	err = srv.Run(ctx, origin, apps, pages)
//
// Below it stands any [http.Handler]. What it is not: a router, and no judge of
// paths; see package router.
//
// HTTP/1.1 is served by a server of the tier's own, which handlers find as they
// know net/http's, and HTTP/2 by net/http's. A response goes out whole when its
// handler has returned, if it has up to 32 KiB (28 KiB over HTTP/2, where its
// length must be stated), or earlier if the handler flushes, unless it says
// "X-Accel-Buffering: no". Every request leaves one log line, also one that is
// malformed; of those over HTTP/2 only net/http knows.
//
// A [Server] is an [http.Handler], too, for who has an http.Server of another's
// to mount a front in. It then knows clients, cleans and logs as ever; limits of
// connections and of time, the drain and upgrades are that server's, and what is
// malformed shows only in its own log.
package edge
