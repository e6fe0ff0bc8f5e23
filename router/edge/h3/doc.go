// Package h3 serves HTTP/3 beside a server's HTTP/1.1 and HTTP/2, over quic-go:
//
//	quic, err := h3.New(h3.Options{Addr: ":443"})
//	...
//	srv, err := edge.New(front, edge.Options{Addr: ":443", Certificates: certs, HTTP3: quic})
//	...
//	err = srv.Run(ctx, apps)
//
// A program that does not import it has nothing of it. The protocols are QUIC (RFC 9000,
// with TLS as in RFC 9001), HTTP/3 (RFC 9114) and QPACK (RFC 9204), whose dynamic table
// is not used. What a request becomes is the [edge.Server]'s to say, to the last line:
// who the client is, what of the header goes on, rules, limits of sizes and stalls, the
// operator's pages, the access log (proto is "HTTP/3.0"), traces and figures.
// Certificates are the server's, also those that it takes up while it runs, and so are
// the names for which it asks for client certificates, with 421 for requests on the wrong
// connection. Answers go through the chain always: there is no answering from the head.
//
// # How clients come
//
// Answers over TCP, and those over HTTP/3, have an Alt-Svc (RFC 7838) that says where
// HTTP/3 is, for a day, while it is served and the server does not drain; one that a
// handler has set stays. Nothing ever says "clear": other gateways of the name, and the
// next process, serve on, and a client whose QUIC fails goes back to TCP by itself. UDP
// must reach the port; where a firewall drops it, clients stay with TCP.
//
// # What is bounded
//
// Connections count in [edge.Limits].Conns and ClientConns, together with those of TCP,
// and idle ones make room as those do. From 64 handshakes under way on, clients have to
// show first that they receive what is sent to their address (Retry, RFC 9000, section
// 8.1.2), and from 1,024 on others are refused. There is no 0-RTT: what comes in it could
// be sent again by anybody who has seen it. A connection has at most Limits.Streams
// requests in hand, those that its client has given up included until their handlers have
// returned. Headers that are larger than Limits allow are answered 431, a target 414,
// likewise. Bodies that stall end after Limits.BodyStall, clients who take nothing after
// WriteStall, and connections on which no request is in hand for Limits.Idle are closed,
// whatever else comes on them. Of a request's body up to 1 MiB waits unread, in all
// connections together 64 MiB beyond the first 128 KiB of each.
//
// A request without a Content-Length goes on once its first byte has come, or its end: so
// a GET is known to have no body. Trailers of requests are dropped, those of answers go
// out. CONNECT is answered 405, and the extended one, by which websockets and
// WebTransport come (RFC 9220), 501. What is no request by RFC 9114, section 4.1.2, has
// its stream reset, without a line in the log; so have requests whose header does not
// come.
//
// # The end
//
// When the server drains, clients are told to go elsewhere (GOAWAY, RFC 9114, section
// 5.2); requests in hand have [edge.Options].Drain to end. No connection goes over to the
// process that takes over by [edge.HandOver]: that one waits for the address and serves
// HTTP/3 as soon as this one has left it, which is when its last request over HTTP/3 has
// ended. Meanwhile clients that try are refused, and use TCP. To have the address again,
// that process needs the right to bind it.
package h3
