package cache

import (
	"time"

	"github.com/foretier/foretier/health"
)

// Report implements [health.Reporter].
func (c *Cache) Report() health.Report {
	s, f := c.store.Stats(), &c.figures
	outcome := func(name string, n uint64) health.Metric {
		return health.Count("requests_total", "Requests by what the cache did.", n, health.Label{Name: "outcome", Value: name})
	}
	report := health.Report{Kind: "cache", Name: c.opts.Name, State: health.Up, Verbs: verbs, Events: c.purges.events(), Metrics: []health.Metric{
		outcome("hit", f.hits.Load()),
		outcome("stale", f.stale.Load()),
		outcome("miss", f.misses.Load()),
		outcome("pass", f.passes.Load()),
		health.Count("requests_collapsed_total", "Requests served by another's fetch.", f.collapsed.Load()),
		health.Count("errors_covered_total", "Errors in whose place a stale response was served.", f.covered.Load()),
		health.Count("responses_by_user_agent_total", "Responses stored for one User-Agent each, since they vary on it.", f.agents.Load()),
		health.Count("invalidations_total", "Invalidations applied.", f.invalidations.Load()),
		health.Count("responses_restored_total", "Responses read from a snapshot.", f.restored.Load()),
		health.Count("evictions_total", "Evictions of responses that made room for others.", s.Evictions),
		health.Count("responses_refused_total", "Responses for which there was no room.", s.Refused),
		health.Count("readers_abandoned_total", "Readers that were slow and given up for room.", s.Abandoned),
		health.Count("forms_made_total", "Forms made of stored responses, each in a content coding.", f.forms.Load()),
		health.Count("forms_declined_total", "Forms not kept, since they were hardly smaller.", f.plain.Load()),
		{Name: "saved_bytes_total", Help: "Saved bytes: so much smaller were the forms that were sent from store.",
			Unit: "bytes", Kind: health.Counter, Value: float64(f.saved.Load())},
		health.Level("forms_stored", "Forms of responses in store.", "", float64(s.Forms)),
		health.Level("forms_bytes", "Forms of responses in store, by the memory that they take.", "bytes", float64(s.FormBytes)),
		health.Level("responses_stored", "Responses in store.", "", float64(s.Count)),
		health.Level("memory_used_bytes", "Memory in use, running fetches included.", "bytes", float64(s.Used)),
		health.Level("memory_max_bytes", "Memory that may be used.", "bytes", float64(s.Max)),
	}}
	reasons, counts := c.reasons.each()
	for _, why := range reasons {
		report.Metrics = append(report.Metrics, health.Count("responses_not_stored_total", "Responses that were not stored, by the reason: what Cache-Status says, or the rule by which a request passed.",
			counts[why], health.Label{Name: "reason", Value: why}))
	}
	c.most.report(&report, time.Now())
	if c.follower != nil {
		c.follower.report(&report, time.Now())
	}
	if c.second != nil {
		c.second.report(&report)
	}
	return report
}

// report adds how the cache stands with the feed.
func (f *follower) report(r *health.Report, now time.Time) {
	if f.doubt.cut(now) {
		r.State, r.Why = health.Degraded, "cut off from the feed of invalidations"
	}
	behind := f.doubt.since(now) - time.Duration(f.doubt.known.Load())
	r.Metrics = append(r.Metrics,
		health.Count("invalidations_received_total", "Invalidations of other gateways applied.", f.received.Load()),
		health.Count("gaps_total", "Gaps in what is known of other gateways' invalidations.", f.gaps.Load()),
		health.Count("invalidations_dropped_total", "Invalidations after unsafe methods that other gateways were not told of.", f.outbox.lost()),
		health.Level("invalidations_waiting", "Invalidations that other gateways are to be told of.", "", float64(f.outbox.len())),
		health.Level("lag_seconds", "Lag behind other gateways' invalidations, at most.", "seconds", behind.Seconds()),
	)
}
