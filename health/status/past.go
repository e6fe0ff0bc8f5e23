package status

import (
	"context"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

const (
	step   = 10 * time.Second // between two points of a plot
	points = 90               // of one: 15 minutes
	// mostPlots is of how many parts a past is kept: 750 bytes each.
	mostPlots = 2048
)

// A past is what plots show, also of the time before anybody looked, and what rates are
// reckoned against. Its zero value is empty, and its methods are safe for concurrent use.
type past struct {
	mu    sync.Mutex
	busy  bool             // guarded by mu: somebody takes a point
	ticks [2]moment        // guarded by mu: the latest last
	plots map[string]*plot // guarded by mu: by path
	n     int              // guarded by mu: ticks so far
}

// A moment is how all was at one time. It is never modified.
type moment struct {
	at time.Time
	health.Report
}

// A plot is what a part did in the latest steps. Points before its beginning are -1.
type plot struct {
	seen  int // the tick that has seen it last
	rates [points]float32
	p99s  [points]float32
}

// tick takes the next point, if it is time for it, and reports whether it was.
func (p *past) tick(now time.Time, report func() health.Report) bool {
	p.mu.Lock()
	due := !p.busy && now.Sub(p.ticks[1].at) >= step
	p.busy = p.busy || due
	p.mu.Unlock()
	if !due {
		return false
	}
	var m moment // none, if a part panics
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.busy = false; !m.at.IsZero() {
			p.takeLocked(m)
		}
	}()
	m = moment{now, report()}
	return true
}

func (p *past) takeLocked(m moment) {
	before := p.ticks[1]
	p.ticks = [2]moment{before, m}
	p.n++
	if p.plots == nil {
		p.plots = make(map[string]*plot)
	}
	took := m.at.Sub(before.at).Seconds()
	if before.at.IsZero() || took > 10*step.Seconds() { // the machine has slept
		before = moment{}
	}
	each(&m.Report, &before.Report, func(path string, part, was *health.Report) {
		pl := p.plots[path]
		if pl == nil {
			if len(p.plots) >= mostPlots {
				return
			}
			pl = new(plot)
			for i := range points {
				pl.rates[i], pl.p99s[i] = -1, -1
			}
			p.plots[path] = pl
		}
		pl.seen = p.n
		copy(pl.rates[:], pl.rates[1:])
		copy(pl.p99s[:], pl.p99s[1:])
		rate, p99 := pulse(part, was, took)
		pl.rates[points-1], pl.p99s[points-1] = plotted(rate), plotted(p99)
	})
	for path, pl := range p.plots {
		if pl.seen+points < p.n {
			delete(p.plots, path)
		}
	}
}

// plotted is v as a plot has it, to three digits.
func plotted(v float64) float32 {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return -1
	}
	if v == 0 {
		return 0
	}
	v = min(v, math.MaxFloat32)
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return float32(math.Round(v/unit) * unit)
}

// since returns how all was 10 to 20 seconds ago, or as far back as is known.
func (p *past) since() moment {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ticks[0].at.IsZero() {
		return p.ticks[1]
	}
	return p.ticks[0]
}

// curves returns the points of each part since so many ticks, rates and then the longest
// waits but for one in a hundred, each the oldest first, and how many ticks there were.
func (p *past) curves(had int) (out map[string][2][]float32, ticks int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := points - min(points, p.n-had)
	if had == 0 {
		latest = 0
	}
	out = make(map[string][2][]float32, len(p.plots))
	for path, pl := range p.plots {
		if pl.seen == p.n {
			out[path] = [2][]float32{slices.Clone(pl.rates[latest:]), slices.Clone(pl.p99s[latest:])}
		}
	}
	return out, p.n
}

// Run keeps what the page's plots show of the time before it was opened, until ctx ends:
// it asks all parts for their reports each 10 seconds. It is a background for edge's
// Server.Run. Without it plots begin when somebody looks.
func (h *Handler) Run(ctx context.Context) error {
	t := time.NewTicker(step)
	defer t.Stop()
	for {
		h.tick()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tick takes the next point. A part that panics is told of, and ends nothing: nobody waits
// for a plot.
func (h *Handler) tick() {
	defer func() {
		if v := recover(); v != nil {
			h.opts.Logger.Error("status: a part panicked when it was to report", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	h.past.tick(time.Now(), h.Report)
}

// each calls f for each part that a page shows, two floors deep, with the same part as it
// was, empty if there was none.
func each(now, was *health.Report, f func(path string, part, was *health.Report)) {
	for i := range now.Parts {
		part := &now.Parts[i]
		before := partOf(was, i, part)
		path := part.Kind + "\n" + part.Name
		f(path, part, before)
		for j := range part.Parts {
			below := &part.Parts[j]
			f(path+"\n"+below.Kind+"\n"+below.Name, below, partOf(before, j, below))
		}
	}
}

var noReport health.Report

// partOf finds in was what part is now: at place i, as a rule.
func partOf(was *health.Report, i int, part *health.Report) *health.Report {
	same := func(r health.Report) bool { return r.Name == part.Name && r.Kind == part.Kind }
	if i >= len(was.Parts) || !same(was.Parts[i]) {
		if i = slices.IndexFunc(was.Parts, same); i < 0 {
			return &noReport
		}
	}
	return &was.Parts[i]
}

// metricOf finds in was what m is now: at place i, as a rule. It returns nil if there was none.
func metricOf(was *health.Report, i int, m *health.Metric) *health.Metric {
	same := func(o health.Metric) bool { return o.Name == m.Name && slices.Equal(o.Labels, m.Labels) }
	if i >= len(was.Metrics) || !same(was.Metrics[i]) {
		if i = slices.IndexFunc(was.Metrics, same); i < 0 {
			return nil
		}
	}
	return &was.Metrics[i]
}

// growth returns by how much a counter has grown, NaN if that is not known.
func growth(m, was *health.Metric) float64 {
	if was == nil || m.Value < was.Value {
		return math.NaN()
	}
	return m.Value - was.Value
}

// pulse returns how often in a second a part was asked, by its own requests_total, else
// that of its parts, else by its first counter, and how long all but one in a hundred took,
// by its first histogram.
func pulse(part, was *health.Report, seconds float64) (rate, p99 float64) {
	grown, ok := grownBy(part, was, "requests_total")
	if !ok {
		for i := range part.Parts {
			if of, has := grownBy(&part.Parts[i], partOf(was, i, &part.Parts[i]), "requests_total"); has {
				grown, ok = grown+of, true
			}
		}
	}
	if first := slices.IndexFunc(part.Metrics, func(m health.Metric) bool { return m.Kind == health.Counter }); !ok && first >= 0 {
		grown, ok = grownBy(part, was, part.Metrics[first].Name)
	}
	rate, p99 = math.NaN(), math.NaN()
	if ok {
		rate = grown / seconds
	}
	if first := slices.IndexFunc(part.Metrics, func(m health.Metric) bool { return m.Kind == health.Histogram }); first >= 0 {
		m := &part.Metrics[first]
		p99 = quantile(m, metricOf(was, first, m), 0.99)
	}
	return rate, p99
}

// grownBy returns by how much a part's counter of that name has grown, with all labels, and
// whether it has one.
func grownBy(part, was *health.Report, name string) (n float64, ok bool) {
	for i := range part.Metrics {
		if m := &part.Metrics[i]; m.Kind == health.Counter && m.Name == name {
			n, ok = n+growth(m, metricOf(was, i, m)), true
		}
	}
	return n, ok
}

// quantile estimates one of what a histogram has counted since it was so, NaN if that is
// nothing. Beyond the last bound it is that bound.
func quantile(m, was *health.Metric, q float64) float64 {
	if was == nil || len(was.Buckets) != len(m.Buckets) || m.Count <= was.Count {
		return math.NaN()
	}
	rank := q * float64(m.Count-was.Count)
	from, below := 0.0, 0.0
	for i, b := range m.Buckets {
		upTo := float64(b.Count) - float64(was.Buckets[i].Count)
		if upTo >= rank {
			return from + (b.Le-from)*(rank-below)/max(upTo-below, 1)
		}
		from, below = b.Le, upTo
	}
	return from
}
