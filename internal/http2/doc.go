// Package http2 has the mechanics of an HTTP/2 connection (RFC 9113), and no policy:
// frames read in place and appended to what is written, windows, fields both ways,
// priorities, and an account of what a peer makes one do for nothing.
//
//	f, n, err := http2.ParseFrame(b, http2.MinFrame) // b is what was read
//	b = http2.AppendPing(b, true, f.Payload)
//
// Fields are decompressed by golang.org/x/net/http2/hpack (RFC 7541). They are
// compressed here without a dynamic table: a block then depends on nothing that was
// sent before, so that one can be composed by any goroutine, and remembered. What that
// costs are some hundred bytes an answer, as nginx has it.
//
// Frames are not x/net's Framer's: that allocates each, copies each, and keeps a buffer
// of the largest for as long as the connection is open. What errors, settings and frames
// are called is x/net's.
//
// A request's fields become the text of an HTTP/1.1 head, which package http1 reads as
// any other: one parser judges what is asked, one set of limits holds, and what HTTP/1
// cannot carry is no request. So nothing can be read as two requests at a backend. A
// response's become the text of one likewise, for the side that asks.
package http2
