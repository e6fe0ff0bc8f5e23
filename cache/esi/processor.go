package esi

import (
	"hash/maphash"
	"net/http"
	"sync/atomic"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// A Processor composes pages for every handler that it wraps. Its methods are safe
// for concurrent use.
type Processor struct {
	opts       Options
	capability string // what backends are told of us in Surrogate-Capability
	seed       maphash.Seed
	ahead      fair.Quota // bytes of pages that are held until it is their turn
	figures    figures
}

// New returns a processor. It starts nothing.
func New(opts Options) (*Processor, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Processor{opts: opts, capability: opts.Name + `="ESI/1.0"`, seed: maphash.MakeSeed()}, nil
}

// Handler returns next with its pages composed. It stands above a cache, and below a
// compressor; of two, one above the other, the upper one composes. What one cache has
// stored is composed for all of its handlers or for none.
//
// The returned handler also has the methods Explain, Healthy and Wraps, by which a
// layer above asks what lies below.
func (p *Processor) Handler(next http.Handler) http.Handler {
	_, tells := next.(transit.Teller)
	return &handler{processor: p, next: next, tells: tells}
}

// figures count what was done.
type figures struct {
	composed, repeated, fragments, failed atomic.Uint64
}

// Report implements [health.Reporter].
func (p *Processor) Report() health.Report {
	f := &p.figures
	return health.Report{Kind: "esi", Name: p.opts.Name, State: health.Up, Metrics: []health.Metric{
		health.Count("pages_composed_total", "Pages composed.", f.composed.Load()),
		health.Count("pages_repeated_total", "Pages asked for again, since they could not be composed as they came.", f.repeated.Load()),
		health.Count("fragments_total", "Fragments that pages have asked for.", f.fragments.Load()),
		health.Count("fragments_failed_total", "Fragments that could not be included, for whatever reason.", f.failed.Load()),
		health.Level("memory_used_bytes", "Memory in use for what is held until it is its turn.", "bytes", float64(p.ahead.Held())),
	}}
}
