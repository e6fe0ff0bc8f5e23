package balancer

import (
	"cmp"
	"context"
	"iter"
	"net"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
)

// A Source tells a pool its backends, again whenever they change.
//
// Backends yields until ctx ends. What it yields replaces the pool's backends,
// as [Pool.Update] does; with an error, or without a backend, the pool keeps
// those that it has: a name server that fails is no reason to stop serving.
type Source interface {
	Backends(ctx context.Context) iter.Seq2[[]Backend, error]
}

// DNS returns a source that resolves the host of the URL every so often; 0
// stands for 30 s. Each address becomes a backend of its own, named for it. One
// that is missing from an answer is held for two more, as some name servers
// tell a few of many each time; an answer that has none of those before is a
// move, and holds none. Until a first lookup succeeds, it is tried again after a
// second, then two, and so on.
//
// With a scheme of http+srv or h2c+srv the host is looked up as an SRV record
// (RFC 2782) that names ports too, of which the priorities become tiers and
// the weights weights:
//
//	balancer.DNS("http://apps.internal:8080", 0)
//	balancer.DNS("http+srv://_http._tcp.apps.internal", 0)
//
// A URL that is none, and a negative time, are errors of [New].
//
// The backends are asked by address: for https, name in [Options.TLS] the
// server whose certificate is to be expected.
func DNS(rawURL string, every time.Duration) Source {
	return source{pool.DNS{URL: rawURL, Schemes: schemes, Every: cmp.Or(every, 30*time.Second), Resolver: net.DefaultResolver}}
}

// A source is [DNS].
type source struct{ pool.DNS }

// Backends implements [Source].
func (s source) Backends(ctx context.Context) iter.Seq2[[]Backend, error] {
	return pool.Backends(ctx, s.DNS, func(f pool.Found) Backend {
		return Backend{URL: f.URL, Weight: f.Weight, Tier: f.Tier}
	})
}
