// Package metrics gives Prometheus what the parts of a tier report. Like the status
// page it knows no feature by name, so a user's own part appears like any other:
//
//	page, err := status.New(parts, status.Options{Metrics: metrics.Handler(logger, parts...)})
//
// A part's figure is called foretier_<kind of the part>_<name of the figure>. What tells
// parts apart are labels, each a kind of part with the part's name: those of a backend
// are pool and backend. Besides, each part has foretier_<kind>_state, which is 1 for the
// state that it is in and 0 for the others. So there are as many series as there are
// parts: nothing that a client sends becomes a name or a label.
package metrics

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretier/foretier/health"
)

// A Collector is a [prometheus.Collector] of what parts report, to be registered beside
// a program's own. What becomes of a scrape in which two parts say the same of
// themselves is the registry's affair: see [promhttp.HandlerOpts]. It is safe for
// concurrent use.
type Collector struct{ parts []health.Reporter }

// New returns a collector of what parts report. Each of a kind and level needs a name of
// its own, as for status.New, which checks it.
func New(parts ...health.Reporter) *Collector {
	return &Collector{parts: append([]health.Reporter(nil), parts...)}
}

// Handler answers a scrape with what parts report, and what Go's runtime and the
// process take. If a part reports what cannot be told, the others' is told all the same,
// and logger gets a line; nil means slog.Default().
func Handler(logger *slog.Logger, parts ...health.Reporter) http.Handler {
	if logger == nil {
		logger = slog.Default()
	}
	r := prometheus.NewRegistry()
	r.MustRegister(New(parts...), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: errorLog{logger}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	})
}

// An errorLog writes what is wrong with what parts report.
type errorLog struct{ log *slog.Logger }

// Println implements [promhttp.Logger].
func (l errorLog) Println(v ...any) {
	for _, what := range v {
		if err, ok := what.(error); ok {
			l.log.Warn("metrics of a part cannot be told", "cause", err)
		}
	}
}

// Describe implements [prometheus.Collector]: what parts there will be, a backend found
// by its name for one, nobody knows beforehand.
func (*Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	for _, p := range c.parts {
		collect(out, p.Report(), nil, nil)
	}
}

// collect tells of a part below others, of these kinds and names.
func collect(out chan<- prometheus.Metric, r health.Report, kinds, names []string) {
	kinds, names = append(kinds[:len(kinds):len(kinds)], r.Kind), append(names[:len(names):len(names)], r.Name)
	for _, m := range r.Metrics {
		out <- metric(r.Kind, m, kinds, names)
	}
	states := prometheus.NewDesc("foretier_"+r.Kind+"_state", "State: 1 for that in which the part is.", append(kinds, "state"), nil)
	for state := health.Unknown; state <= health.Down; state++ {
		is := 0.0
		if state == r.State {
			is = 1
		}
		out <- valid(states)(prometheus.NewConstMetric(states, prometheus.GaugeValue, is, append(names, state.String())...))
	}
	for _, part := range r.Parts {
		collect(out, part, kinds, names)
	}
}

// metric returns m of a part of the kind, as Prometheus has it.
func metric(kind string, m health.Metric, kinds, names []string) prometheus.Metric {
	labels, values := kinds[:len(kinds):len(kinds)], names[:len(names):len(names)]
	for _, l := range m.Labels {
		labels, values = append(labels, l.Name), append(values, l.Value)
	}
	desc := prometheus.NewDesc("foretier_"+kind+"_"+m.Name, m.Help, labels, nil)
	switch m.Kind {
	case health.Histogram:
		buckets := make(map[float64]uint64, len(m.Buckets))
		for _, b := range m.Buckets {
			buckets[b.Le] = b.Count
		}
		return valid(desc)(prometheus.NewConstHistogram(desc, m.Count, m.Value, buckets, values...))
	case health.Counter:
		return valid(desc)(prometheus.NewConstMetric(desc, prometheus.CounterValue, m.Value, values...))
	}
	return valid(desc)(prometheus.NewConstMetric(desc, prometheus.GaugeValue, m.Value, values...))
}

// valid returns a function that returns a metric, or in its place the error that its
// making has met, to be told by the registry.
func valid(desc *prometheus.Desc) func(prometheus.Metric, error) prometheus.Metric {
	return func(m prometheus.Metric, err error) prometheus.Metric {
		if err != nil {
			return prometheus.NewInvalidMetric(desc, err)
		}
		return m
	}
}
