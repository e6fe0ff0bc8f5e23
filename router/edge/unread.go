package edge

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// unread logs a request that no handler has seen, and of which the first line is
// known, or some of it.
func (s *Server) unread(c *conn, level slog.Level, status int, cause, line string) {
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
	attrs := []slog.Attr{slog.String("client", peer.String()), slog.Int("status", status), slog.String("cause", cause), slog.Int("others", others)}
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	if isRequest(method, target) {
		attrs = append(attrs, slog.String("method", transit.Clip(method)), slog.String("target", transit.Clip(target)))
	}
	s.opts.Logger.LogAttrs(context.Background(), level, "request", attrs...)
}

// isRequest reports whether a line that begins so may be told: it may be of a body, with
// a password in it.
func isRequest(method, target string) bool {
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" && (strings.HasPrefix(target, "/") || strings.Contains(target, "://") || target == "*")
}
