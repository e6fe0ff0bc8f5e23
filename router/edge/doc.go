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
// Without TLS, an HTTP/1.1 response of stated length, up to 28 KiB, goes out
// whole when its handler has returned, or earlier if it flushes, unless it says
// "X-Accel-Buffering: no". Every request leaves one log line, also one that
// net/http turns away unread; of those over TLS only that is known.
package edge
