package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// A view is a report as the page shows it, in words: what is shared by all who look is
// made once, and a browser has little to do.
type view struct {
	Time     int64    `json:"time"` // in ms of Unix time
	Name     string   `json:"name"`
	State    string   `json:"state"`
	Why      string   `json:"why,omitempty"`
	Explains bool     `json:"explains,omitempty"`
	Acts     bool     `json:"acts,omitempty"`
	Events   []happen `json:"events,omitempty"`
	Parts    []panel  `json:"parts"`
}

// A panel is a part of the tier.
type panel struct {
	Kind     string           `json:"kind"`
	Name     string           `json:"name"`
	State    string           `json:"state"`
	Why      string           `json:"why,omitempty"`
	Verbs    []string         `json:"verbs,omitempty"`
	Figures  [][2]string      `json:"figures,omitempty"` // what is told first, each with its title
	More     [][2]string      `json:"more,omitempty"`    // all
	Tables   []table          `json:"tables,omitempty"`
	Rankings []health.Ranking `json:"rankings,omitempty"`
	Events   []happen         `json:"events,omitempty"`
}

// A table has the parts of a part that are of one kind.
type table struct {
	Kind   string   `json:"kind"`
	Titles []string `json:"titles"`
	Wide   []bool   `json:"wide"` // those that have shares
	Rows   []row    `json:"rows"`
}

type row struct {
	Name  string   `json:"name"`
	State string   `json:"state"`
	Why   string   `json:"why,omitempty"`
	Cells []string `json:"cells"`
	Verbs []string `json:"verbs,omitempty"`
}

// A happen is an event.
type happen struct {
	Time int64  `json:"time"` // in ms of Unix time
	Text string `json:"text"`
}

// viewOf returns how the tier is shown that was so before.
func (h *Handler) viewOf(now, was moment) *view {
	v := &view{Time: now.at.UnixMilli(), Name: now.Name, State: now.State.String(), Why: now.Why,
		Explains: h.opts.Explain != nil, Acts: h.opts.Act != nil, Events: happens(now.Events)}
	seconds := now.at.Sub(was.at).Seconds()
	for i := range now.Parts {
		v.Parts = append(v.Parts, panelOf(&now.Parts[i], partOf(&was.Report, i, &now.Parts[i]), seconds, v.Acts))
	}
	return v
}

func panelOf(part, was *health.Report, seconds float64, acts bool) panel {
	p := panel{Kind: part.Kind, Name: part.Name, State: part.State.String(), Why: part.Why, Rankings: part.Rankings, Events: happens(part.Events)}
	if acts {
		p.Verbs = part.Verbs
	}
	for _, f := range families(part, was) {
		p.Figures = append(p.Figures, f.now(seconds)...)
		p.More = append(p.More, f.ever()...)
	}
	for i := range part.Parts {
		below := &part.Parts[i]
		t := slices.IndexFunc(p.Tables, func(t table) bool { return t.Kind == below.Kind })
		if t < 0 {
			t = len(p.Tables)
			p.Tables = append(p.Tables, table{Kind: below.Kind})
		}
		p.Tables[t].add(below, partOf(was, i, below), seconds, acts)
	}
	return p
}

// notInRows are figures that a table has no room for.
var notInRows = []string{"memory_max_bytes", "latency_seconds", "drained"}

// add adds a row for a part. Not all need have all figures of the others.
func (t *table) add(part, was *health.Report, seconds float64, acts bool) {
	r := row{Name: part.Name, State: part.State.String(), Why: part.Why, Cells: make([]string, len(t.Titles))}
	if acts {
		r.Verbs = part.Verbs
	}
	for _, f := range families(part, was) {
		if slices.Contains(notInRows, f.name) {
			continue
		}
		for _, c := range f.now(seconds) {
			i := slices.Index(t.Titles, c[0])
			if i < 0 {
				i = len(t.Titles)
				t.Titles, t.Wide, r.Cells = append(t.Titles, c[0]), append(t.Wide, f.shared()), append(r.Cells, "")
			}
			r.Cells[i] = c[1]
		}
	}
	t.Rows = append(t.Rows, r)
}

func happens(events []health.Event) (out []happen) {
	for _, e := range events {
		out = append(out, happen{e.Time.UnixMilli(), strings.TrimSpace(e.Part + " " + e.Text)})
	}
	return out
}

// A family is the metrics of one name, in order, and what they were before.
type family struct {
	name string
	of   []*health.Metric
	was  []*health.Metric // nil where there was none
}

func families(part, was *health.Report) []family {
	out := make([]family, 0, len(part.Metrics))
	for i := range part.Metrics {
		m := &part.Metrics[i]
		f := len(out) - 1
		if f < 0 || out[f].name != m.Name {
			f = slices.IndexFunc(out, func(f family) bool { return f.name == m.Name })
		}
		if f < 0 {
			f = len(out)
			out = append(out, family{name: m.Name})
		}
		out[f].of, out[f].was = append(out[f].of, m), append(out[f].was, metricOf(was, i, m))
	}
	return out
}

// nothing is what a cell has of what is not known.
const nothing = "–"

// title is what the family is, in words.
func (f *family) title() string {
	name := strings.TrimSuffix(f.name, "_total")
	for _, unit := range []string{"_seconds", "_bytes"} {
		name = strings.TrimSuffix(name, unit)
	}
	return noun(name)
}

func noun(name string) string { return strings.ReplaceAll(name, "_", " ") }

// now returns what is told of the family of late: of a counter by how much it grows in a
// second, of one with labels how that is shared out, of a histogram two quantiles.
func (f *family) now(seconds float64) [][2]string {
	first, title := f.of[0], f.title()
	switch {
	case first.Kind == health.Histogram:
		return [][2]string{{title + " p50", duration(quantile(first, f.was[0], 0.5))}, {title + " p99", duration(quantile(first, f.was[0], 0.99))}}
	case f.shared():
		return [][2]string{{title, f.shares()}}
	case first.Kind == health.Counter:
		return [][2]string{{title + " /s", amount(first.Unit, growth(first, f.was[0])/seconds)}}
	case len(first.Labels) > 0:
		return nil
	}
	return [][2]string{{title, amount(first.Unit, first.Value)}}
}

// shared reports whether it is told how the family is shared out.
func (f *family) shared() bool { return f.of[0].Kind == health.Counter && len(f.of[0].Labels) > 0 }

// shares tells how what was counted of late is shared out, the most first; of nothing of
// late, how all is that was counted ever.
func (f *family) shares() string {
	type share struct {
		label string
		n     float64
	}
	list := make([]share, len(f.of))
	sum := 0.0
	for i, m := range f.of {
		list[i] = share{labels(m), growth(m, f.was[i])}
		if math.IsNaN(list[i].n) {
			list[i].n = m.Value
		}
		sum += list[i].n
	}
	if sum == 0 {
		for i, m := range f.of {
			list[i].n = m.Value
			sum += m.Value
		}
	}
	slices.SortStableFunc(list, func(a, b share) int { return cmp.Compare(b.n, a.n) })
	var b strings.Builder
	for i, s := range list {
		if s.n == 0 || i == 4 {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		percent := 100 * s.n / sum
		switch {
		case percent >= 99.95 || percent >= 10 && percent < 99:
			fmt.Fprintf(&b, "%s %.0f%%", s.label, percent)
		case percent < 0.1:
			fmt.Fprintf(&b, "%s <0.1%%", s.label)
		default:
			fmt.Fprintf(&b, "%s %.1f%%", s.label, percent)
		}
	}
	return b.String()
}

func labels(m *health.Metric) string {
	var out []string
	for _, l := range m.Labels {
		out = append(out, l.Value)
	}
	return strings.Join(out, " ")
}

// ever returns what the family has come to.
func (f *family) ever() (out [][2]string) {
	for _, m := range f.of {
		if m.Kind == health.Histogram {
			out = append(out, [2]string{f.title() + ", counted", amount("", float64(m.Count))})
			continue
		}
		out = append(out, [2]string{strings.TrimSpace(f.title() + " " + labels(m)), amount(m.Unit, m.Value)})
	}
	return out
}

// amount is a value in words.
func amount(unit string, v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return nothing
	case unit == "seconds":
		return duration(v)
	case unit == "bytes":
		return short(v) + map[bool]string{true: " B", false: "B"}[v < 1e4]
	}
	return short(v)
}

// short is a number of at most four digits.
func short(v float64) string {
	switch size := math.Abs(v); {
	case size >= 1e10:
		return fmt.Sprintf("%.0f G", v/1e9)
	case size >= 1e9:
		return fmt.Sprintf("%.1f G", v/1e9)
	case size >= 1e7:
		return fmt.Sprintf("%.0f M", v/1e6)
	case size >= 1e6:
		return fmt.Sprintf("%.1f M", v/1e6)
	case size >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case size >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case size >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// duration is a time of so many seconds.
func duration(v float64) string {
	switch {
	case math.IsNaN(v):
		return nothing
	case v == 0:
		return "0"
	case v >= 120:
		return time.Duration(v * 1e9).Round(time.Second).String()
	case v >= 1:
		return fmt.Sprintf("%.1f s", v)
	case v >= 0.1:
		return fmt.Sprintf("%.0f ms", v*1e3)
	case v >= 0.001:
		return fmt.Sprintf("%.1f ms", v*1e3)
	}
	return fmt.Sprintf("%.0f µs", v*1e6)
}

// text is v as it is sent.
func (v *view) text() []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"why": err.Error()})
	}
	return b
}
