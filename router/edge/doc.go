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
// HTTP/1.1 and HTTP/2 are served by servers of the tier's own, which handlers find as
// they know net/http's, and HTTP/3, where it is asked for, by that of package h3. A
// response goes out whole when its handler has returned, if it has up to 32 KiB (28 KiB
// over HTTP/3, where its length must be stated), or earlier if the handler flushes,
// unless it says "X-Accel-Buffering: no". Every request leaves one log line, also one
// that is malformed; of those over HTTP/3 nobody knows.
//
// "OPTIONS *", which asks of a server as a whole (RFC 9110, section 9.3.7), is answered
// 400: it names no resource, so no rule says which server that would be,
// and what the tier itself can do is nobody's to probe.
//
// Over HTTP/2 (RFC 9113) answers go out by the priorities that clients state (RFC 9218),
// else in turns. A client that has the server work for nothing, with streams that it gives
// up by the hundred or frames that ask for nothing, is sent away (ENHANCE_YOUR_CALM), and
// the log says so. Websockets come on streams of it (RFC 8441): handlers get an extended
// CONNECT as the GET with Upgrade that it would be over HTTP/1.1, and may take its stream
// over as they would the connection there. Other protocols are answered with 501, and
// success that is no websocket with 502. Over HTTP/3 none is offered (RFC 9220).
//
// A request has a name, X-Request-Id: what a trusted proxy has given it, else 64 random
// bits. Backends are told of it, the log says it as "id", and every answer has it, those
// from a cache and the tier's own errors too; what a backend says of it is replaced. What
// could not be read as a request has none.
//
// With [Options.Tracing] a request is part of a trace, too (W3C Trace Context): who is
// believed has its traceparent go on, for the rest one is begun, the line has its id, and
// spans of any system's are begun and ended with what the line says; the pools below tell
// of each attempt, and each backend of its own. [Annotate] adds what users know.
//
// The line goes to any handler of slog. It costs least, and no memory, with the tier's
// own handler before its own writer, which nobody waits for; what they write is what
// slog does:
//
//	lines := edge.NewLogWriter(os.Stderr, nil)
//	defer lines.Close()
//	logger := slog.New(edge.NewLogHandler(lines, edge.LogOptions{JSON: true}))
//
// A page that the chain has answered from a cache is answered again without it, if
// nothing of a request but method, scheme, host, target, the codings that it
// accepts and whether it has that page already (304) has made it that: no http.Request is made, no handler called, and
// counters and log are as if one had been. It ends with what is stored, with a
// router's Update and with whatever else would have made another answer. What takes
// part are a router's rules without Allow, Limit, Use and matchers of more than
// method, host and path, and handlers of a cache directly behind them; with
// middleware anywhere between, the chain answers. A request with any field that
// could matter, or that nobody here knows, is the chain's, too.
//
// # While it serves
//
// [Server.Block] changes who is refused, a [CertificateSource] takes up other
// certificates, and a router's Update other rules; nobody is interrupted. Another process
// takes over by [HandOver], which passes the listening sockets on, or by a service manager
// that holds them; the other finds them by [Inherited].
//
// # Mounted in a server of one's own
//
// A [Server] is an [http.Handler], too, for who has an http.Server to mount a front
// in; with [Options.NoPort] it then listens on nothing. It knows clients, bounds
// sizes and the stalls of bodies, cleans, answers with the operator's pages, traces
// and logs as ever. Run keeps the background going, and at the end tells load
// balancers and clients to leave before it waits for the requests that go on; call
// the http.Server's Shutdown once Ready says [ErrDraining] for long enough. What is
// lost, since only who has the connection can do it:
//
//   - HTTP/1.1 is read as net/http does: it forgives what two servers may understand
//     differently, and what it refuses leaves no line in the log;
//   - ReadHeaderTimeout and IdleTimeout are that server's to set, and clients that
//     take nothing need its WriteTimeout, which large answers do not survive;
//   - there are no limits of connections, in all and for each client, and none
//     makes room for others;
//   - an idle connection costs a goroutine and its buffers, and a request more than
//     it would here; hits go through the chain;
//   - a client that has half-closed its connection has left, whatever HalfClosed says;
//   - TLS is that server's, and upgraded connections are nobody's to close at the
//     end.
//
// A test has a server without a port and without a socket by package edgetest, with
// connections in memory, of which none of that is lost.
package edge
