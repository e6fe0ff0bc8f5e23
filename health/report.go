package health

import (
	"context"
	"fmt"
	"time"
)

// A Reporter says how it is. Every part of the tier is one, and a user's own
// part becomes one by this method; the status page and the metrics show
// whatever they are given.
type Reporter interface {
	// Report is safe for concurrent use and answers from what it knows,
	// without asking anybody over a network.
	Report() Report
}

// An Actor can be told to do what its [Report] lists under Verbs.
type Actor interface {
	// Act does verb, one of those listed, perhaps of several words (drain, purge
	// tag), to the part named part, or to itself by its own name, with an argument
	// that the verb defines, or none.
	Act(ctx context.Context, part, verb, arg string) error
}

// A Report is how a part is at one moment.
type Report struct {
	Kind    string   `json:"kind"`              // pool, backend, cache, router, edge, session: a noun in snake case
	Name    string   `json:"name"`              // unique within its kind and parent
	State   State    `json:"state"`             //
	Why     string   `json:"why,omitempty"`     // what a person should know about State
	Metrics []Metric `json:"metrics,omitempty"` //
	Parts   []Report `json:"parts,omitempty"`   // a pool's backends, a router's rules
	Events  []Event  `json:"events,omitempty"`  // the latest changes, oldest first
	Verbs   []string `json:"verbs,omitempty"`   // what [Actor.Act] can do

	Rankings []Ranking `json:"rankings,omitempty"` // of what there is too much of for metrics
}

// A Metric is one figure of a part, named as Prometheus has it: in snake case
// first what is counted or measured, then what became of it, then the base unit if
// it has one (_seconds, _bytes), then _total if it is a counter, as in
// requests_in_flight, responses_refused_total, latency_seconds. A collector puts
// the project and the part's kind in front and makes labels of the names of the
// part and those above it, so neither stands in Name or Labels.
//
// Within one kind of part a name always has the same help, unit, kind and label
// names. Sums over all labels should make sense.
type Metric struct {
	Name    string     `json:"name"`
	Help    string     `json:"help,omitempty"` // one sentence that opens with Name's first word: "Requests that wait."
	Unit    string     `json:"unit,omitempty"` // seconds, bytes, or empty for a count
	Kind    MetricKind `json:"kind"`
	Labels  []Label    `json:"labels,omitempty"`
	Value   float64    `json:"value"`             // a histogram's sum
	Count   uint64     `json:"count,omitempty"`   // a histogram's observations, in all
	Buckets []Bucket   `json:"buckets,omitempty"` // a histogram's, cumulative, without the last, of all
}

// MetricKind says how a metric moves.
type MetricKind uint8

const (
	Gauge     MetricKind = iota // up and down
	Counter                     // only up
	Histogram                   // a distribution
)

var metricKindNames = [...]string{"gauge", "counter", "histogram"}

// String returns the kind's name in lower case.
func (k MetricKind) String() string {
	if int(k) < len(metricKindNames) {
		return metricKindNames[k]
	}
	return "metric"
}

// MarshalText implements [encoding.TextMarshaler].
func (k MetricKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *MetricKind) UnmarshalText(text []byte) error {
	for i, name := range metricKindNames {
		if name == string(text) {
			*k = MetricKind(i)
			return nil
		}
	}
	return fmt.Errorf("health: %q is no kind of metric", text)
}

// A Label tells metrics of one name apart. One name means the same on all metrics,
// and its values are few, never a client's words.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Bucket counts the observations up to and including Le, which is finite.
type Bucket struct {
	Le    float64 `json:"le"`
	Count uint64  `json:"count"`
}

// An Event is a change worth remembering: a backend that went down, a purge.
type Event struct {
	Time time.Time `json:"time"`
	Part string    `json:"part,omitempty"`
	Text string    `json:"text"` // what happened, as in a log: no full stop
}

// A Ranking is what there was most of lately, of things without bound, such as pages. It is
// for a person to look at: no metric is made of it.
type Ranking struct {
	Name  string    `json:"name"`  // what they have most of: "most fetched"
	Since time.Time `json:"since"` // from when on they are counted
	Items []Ranked  `json:"items"` // few; the first has most
}

// A Ranked is one of a [Ranking].
type Ranked struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
	Why   string `json:"why,omitempty"`
}

// Count returns a counter, for parts that report.
func Count(name, help string, n uint64, labels ...Label) Metric {
	return Metric{Name: name, Help: help, Kind: Counter, Labels: labels, Value: float64(n)}
}

// Level returns a gauge, for parts that report.
func Level(name, help, unit string, v float64, labels ...Label) Metric {
	return Metric{Name: name, Help: help, Unit: unit, Kind: Gauge, Labels: labels, Value: v}
}
