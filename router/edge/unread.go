package edge

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A request that the standard server cannot read never reaches a handler: it
// answers 400, 431, 501 or 505 by itself, or closes the connection, and tells
// nobody. What it writes then is seen here, on a connection that has no handler
// for its request yet; over TLS it is that the connection ends so, and not why.

// refused logs what the standard server writes for a request that it could not
// read, if p is that.
func (c *conn) refused(p []byte) {
	version, line, ok := bytes.Cut(p, []byte(" "))
	if !ok || !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(line) < 3 {
		return
	}
	status, err := strconv.Atoi(string(line[:3]))
	if err != nil || status < 400 {
		return
	}
	text, _, _ := bytes.Cut(line, []byte("\r\n"))
	c.begun.Store(false) // its end is explained
	c.srv.unread(c, slog.LevelWarn, status, "edge: not read: "+transit.Clip(string(text)))
}

// unread logs a request that no handler has seen.
func (s *Server) unread(c *conn, level slog.Level, status int, cause string) {
	s.stats.requests.Add(1)
	s.stats.status(status, status == transit.StatusGone)
	if level < slog.LevelWarn && s.opts.NoAccessLog {
		return
	}
	// No request, so that whoever connects could fill the disk.
	kind := &s.unfinished
	if level >= slog.LevelWarn {
		kind = &s.unreadable
	}
	others, ok := kind.Allow(time.Now())
	if !ok {
		return
	}
	peer, _ := fields.PeerAddr(c.RemoteAddr().String()) // a proxy's, if there is one: what it says could not be read
	if s.opts.AnonymousLog {
		peer = anonymous(peer)
	}
	s.opts.Logger.LogAttrs(context.Background(), level, "request",
		slog.String("client", peer.String()), slog.Int("status", status), slog.String("cause", cause), slog.Int("others", others))
}

// logCutHead logs a connection that ends inside a request's head.
func (s *Server) logCutHead(c *conn) {
	if c.begun.Load() && !c.answering.Load() {
		s.unread(c, slog.LevelInfo, transit.StatusGone, "edge: not read: malformed, too large, too slow or cut off")
	}
}
