package cache

import (
	"github.com/foretier/foretier/health"
)

// Report implements [health.Reporter].
func (c *Cache) Report() health.Report {
	s, f := c.store.Stats(), &c.figures
	outcome := func(verdict string, n uint64) health.Metric {
		return health.Count("cache_requests_total", "requests by what the cache did", n, health.Label{Name: "outcome", Value: verdict})
	}
	return health.Report{Kind: "cache", Name: c.opts.Name, State: health.Up, Metrics: []health.Metric{
		outcome("hit", f.hits.Load()),
		outcome("stale", f.stale.Load()),
		outcome("miss", f.misses.Load()),
		outcome("pass", f.passes.Load()),
		health.Count("cache_collapsed_total", "requests served by another's fetch", f.collapsed.Load()),
		health.Count("cache_covered_total", "errors in whose place a stale response was served", f.covered.Load()),
		health.Count("cache_user_agent_variants_total", "responses stored for one User-Agent each, since they vary on it", f.agents.Load()),
		health.Count("cache_invalidations_total", "invalidations applied", f.invalidations.Load()),
		health.Count("cache_evictions_total", "responses that made room for others", s.Evictions),
		health.Count("cache_refused_total", "responses for which there was no room", s.Refused),
		health.Count("cache_abandoned_total", "slow readers that were given up for room", s.Abandoned),
		health.Level("cache_responses", "stored responses", "", float64(s.Count)),
		health.Level("cache_used_bytes", "what is held, running fetches included", "bytes", float64(s.Used)),
		health.Level("cache_max_bytes", "the bound", "bytes", float64(s.Max)),
	}}
}
