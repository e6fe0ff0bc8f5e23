package edge

import (
	"context"
	"log/slog"

	"github.com/foretier/foretier/internal/transit"
)

// Annotate adds attributes to the log line of the request of ctx, behind what the parts of
// the tier say of it, to its span and to what [Options.Observers] are shown: from
// middleware, a matcher's function, a cache's rules or a backend in this process, also
// where a cache fetches from that, for all who wait for it. It is safe for concurrent use,
// and does nothing once the line is written or where there is none.
//
// The line's own keys are id, client, method, scheme, host, target, proto, status, bytes,
// took_s, referer, agent, trace, router, cache, esi, pool, aborted, cause and sampled. Each
// annotated request goes through the chain. Of a secret, say a hash.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	rec, ok := transit.Lookup(ctx)
	if !ok {
		return
	}
	for _, a := range attrs {
		if !a.Equal(slog.Attr{}) { // which handlers leave out
			rec.Note(a.Key, annotation{a.Value})
		}
	}
}

// An annotation is a note of a user's: it may be another for the next request.
type annotation struct{ value slog.Value }

// LogValue implements [slog.LogValuer].
func (a annotation) LogValue() slog.Value { return a.value }
