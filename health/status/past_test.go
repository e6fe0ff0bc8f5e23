package status

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// A shop is a pool whose backends answer a hundred times a second, in 2 to 5 ms.
type shop struct {
	began    time.Time
	backends atomic.Int32
	took     health.Durations
}

func newShop(backends int32) *shop {
	s := &shop{began: time.Now()}
	s.backends.Store(backends)
	return s
}

func (s *shop) Report() health.Report {
	n := uint64(time.Since(s.began).Seconds() * 100)
	for s.took.Count() < n {
		s.took.Add(3 * time.Millisecond)
	}
	r := health.Report{Kind: "pool", Name: "apps", State: health.Up, Metrics: []health.Metric{
		health.Level("buffered_bytes", "", "bytes", 5<<20), health.Level("requests_queued", "", "", 0),
		health.Count("connections_total", "", n/100), health.Count("requests_total", "", n*9/10, health.Label{Name: "outcome", Value: "hit"}),
		health.Count("requests_total", "", n/10, health.Label{Name: "outcome", Value: "miss"}), health.Count("requests_total", "", 0, health.Label{Name: "outcome", Value: "pass"}),
	}, Events: []health.Event{{Time: s.began, Part: "web1", Text: "up"}}, Verbs: []string{"purge tag"}}
	for i := range s.backends.Load() {
		r.Parts = append(r.Parts, health.Report{Kind: "backend", Name: fmt.Sprint("web", i), State: health.Down, Why: "refused", Verbs: []string{"drain"},
			Metrics: []health.Metric{health.Level("requests_in_flight", "", "", 3), health.Distribution("wait_seconds", "", &s.took), health.Count("requests_total", "", n)}})
	}
	return r
}

// TestPast: who opens the page sees what was before that.
func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(2)
		h, err := New([]health.Reporter{s}, Options{Name: "gw", Act: func(*http.Request) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		time.Sleep(5*time.Minute + time.Second)
		curves, ticks := h.past.curves(0)
		if ticks != 31 || len(curves) != 3 {
			t.Fatalf("%d ticks, %d parts", ticks, len(curves))
		}
		for _, path := range []string{"pool\napps", "pool\napps\nbackend\nweb0", "pool\napps\nbackend\nweb1"} {
			rates, p99s := curves[path][0], curves[path][1]
			if len(rates) != points || rates[points-31] != -1 || rates[points-30] != 100 || rates[points-1] != 100 {
				t.Errorf("%q: %v", path, rates)
			}
			if below := strings.Contains(path, "backend"); below && (p99s[points-1] < 0.0025 || p99s[points-1] > 0.005) || !below && p99s[points-1] != -1 {
				t.Errorf("%q: %v", path, p99s)
			}
		}
		if curves, ticks = h.past.curves(29); ticks != 31 || len(curves["pool\napps"][0]) != 2 {
			t.Errorf("since the tick but one: %v", curves)
		}
		if curves, _ = h.past.curves(31); len(curves["pool\napps"][0]) != 0 {
			t.Errorf("nothing new: %v", curves)
		}
		// Whoever has gone is no longer drawn, and forgotten once all of it is old.
		s.backends.Store(1)
		time.Sleep(step)
		if curves, _ = h.past.curves(0); len(curves) != 2 {
			t.Errorf("without web1: %d", len(curves))
		}
		time.Sleep(20 * time.Minute)
		if curves, _ = h.past.curves(0); len(curves) != 2 || len(h.past.plots) != 2 || slices.Min(curves["pool\napps"][0]) != 100 {
			t.Errorf("20 minutes later: %d of %d, %v", len(curves), len(h.past.plots), curves["pool\napps"][0])
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		// The machine has slept: what was counted meanwhile is nobody's rate.
		time.Sleep(time.Hour)
		h.past.tick(time.Now(), h.Report)
		if curves, _ = h.past.curves(0); curves["pool\napps"][0][points-1] != -1 {
			t.Errorf("after a sleep: %v", curves["pool\napps"][0])
		}
		// More parts than anybody has.
		s.backends.Store(3 * mostPlots)
		time.Sleep(step)
		h.past.tick(time.Now(), h.Report)
		if len(h.past.plots) != mostPlots {
			t.Errorf("%d plots", len(h.past.plots))
		}
	})
}

// A patient is a part that panics when it is to report, but for the first time.
type patient struct{ asked atomic.Int32 }

func (p *patient) Report() health.Report {
	if p.asked.Add(1) > 1 {
		panic("no")
	}
	return health.Report{Kind: "part", Name: "sick", State: health.Up}
}

// TestAPartThatPanics ends neither what keeps the past nor what others are shown.
func TestAPartThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testkit.Log
		sick := new(patient)
		h, err := New([]health.Reporter{sick}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		time.Sleep(step + time.Second)
		if !strings.Contains(log.String(), "a part panicked") || !strings.Contains(log.String(), "panic=no") {
			t.Errorf("logged %s", log.String())
		}
		for range 2 { // no lock is left held
			func() {
				defer func() { _ = recover() }()
				h.live.latest(time.Now(), 0, h.show)
			}()
		}
		sick.asked.Store(-100)
		if text, _ := h.live.latest(time.Now(), 0, h.show); !strings.Contains(string(text), "sick") {
			t.Errorf("then: %s", text)
		}
		time.Sleep(step)
		if _, ticks := h.past.curves(0); ticks != 1 {
			t.Errorf("%d ticks", ticks)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestView: figures in words, of late where they are counted.
func TestView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(2)
		h, err := New([]health.Reporter{s}, Options{Name: "gw", Act: func(*http.Request) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if first := string(h.show()); !strings.Contains(first, `"cells":["3","–","–","–"]`) {
			t.Errorf("before anything is known: %s", first)
		}
		for range 3 {
			h.past.tick(time.Now(), h.Report)
			time.Sleep(step)
		}
		v := h.viewOf(moment{time.Now(), h.Report()}, h.past.since())
		if len(v.Parts) != 1 || len(v.Parts[0].Tables) != 1 || len(v.Parts[0].Tables[0].Rows) != 2 {
			t.Fatalf("%+v", v)
		}
		p := v.Parts[0]
		if want := "[[buffered 5.2 MB] [requests queued 0] [connections /s 1] [requests hit 90%, miss 10%]]"; fmt.Sprint(p.Figures) != want {
			t.Errorf("figures %v", p.Figures)
		}
		if want := "[[buffered 5.2 MB] [requests queued 0] [connections 30] [requests hit 2700] [requests miss 300] [requests pass 0]]"; fmt.Sprint(p.More) != want {
			t.Errorf("all figures %v", p.More)
		}
		table := p.Tables[0]
		if want := "[requests in flight wait p50 wait p99 requests /s]"; fmt.Sprint(table.Titles) != want {
			t.Errorf("titles %v", table.Titles)
		}
		if want := "{web1 down refused [3 3.8 ms 5.0 ms 100] [drain]}"; fmt.Sprint(table.Rows[1]) != want {
			t.Errorf("row %v", table.Rows[1])
		}
		if fmt.Sprintf("%v, %s", p.Verbs, p.Events[0].Text) != "[purge tag], web1 up" {
			t.Errorf("%v %+v", p.Verbs, p.Events)
		}
		h.opts.Act = nil
		if v := h.viewOf(moment{time.Now(), h.Report()}, h.past.since()); v.Acts || v.Parts[0].Verbs != nil || v.Parts[0].Tables[0].Rows[0].Verbs != nil {
			t.Error("who may not steer is offered to")
		}
	})
}

// TestWords: figures at all sizes.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"", 0, "0"}, {"", 7, "7"}, {"", 0.123, "0.12"}, {"", 3.14159, "3.1"}, {"", 123.4, "123"}, {"", 9999, "9999"}, {"", 12345, "12.3 k"},
		{"", 1.25e6, "1.2 M"}, {"", 5e9, "5.0 G"}, {"", 7e10, "70 G"}, {"", math.NaN(), "–"}, {"", math.Inf(1), "–"}, {"", -5, "-5"},
		{"bytes", 100, "100 B"}, {"bytes", 2.5e6, "2.5 MB"},
		{"seconds", 0, "0"}, {"seconds", 15e-6, "15 µs"}, {"seconds", 0.0042, "4.2 ms"}, {"seconds", 0.25, "250 ms"}, {"seconds", 2.5, "2.5 s"}, {"seconds", 3700, "1h1m40s"},
		{"seconds", math.NaN(), "–"},
	} {
		if got := amount(c.unit, c.v); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	counted := func(n ...float64) *family {
		f := new(family)
		for i, v := range n {
			m := health.Count("responses_total", "", uint64(v), health.Label{Name: "class", Value: fmt.Sprint(i+1, "xx")})
			f.of, f.was = append(f.of, &m), append(f.was, nil)
		}
		return f
	}
	for want, f := range map[string]*family{
		"": counted(0, 0), "2xx 100%": counted(0, 5), "2xx 99.9%, 1xx 0.1%": counted(1, 999), "2xx 100%, 1xx <0.1%": counted(1, 9999), "1xx 50%, 2xx 50%": counted(1, 1),
		"6xx 29%, 5xx 24%, 4xx 19%, 3xx 14%": counted(1, 2, 3, 4, 5, 6),
	} {
		if got := f.shares(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestTakes: what one report took that had to wait for a processor does not make those
// wait who look.
func TestTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l live
		for i, c := range []struct{ takes, want time.Duration }{
			{300, 0}, {2, 0}, {500, 0}, {3, 2}, {900, 2}, {900, 3}, {900, 3}, {900, 900}, {1, 1},
		} {
			text, took := l.latest(time.Now(), 0, func() []byte { time.Sleep(c.takes * time.Millisecond); return []byte{byte(i)} })
			if took != c.want*time.Millisecond || text[0] != byte(i) {
				t.Errorf("report %d: %v, want %v ms", i, took, int64(c.want))
			}
		}
	})
}

// TestPause: however long reports take, and however many read, it is a hundredth of a
// processor together, or the least that is of use.
func TestPause(t *testing.T) {
	for _, c := range []struct {
		make, send time.Duration
		readers    int32
		want       time.Duration
	}{
		{time.Millisecond, 0, 1, 500 * time.Millisecond},
		{4 * time.Millisecond, time.Millisecond, 4, 2 * time.Second},
		{8 * time.Millisecond, 0, 16, 2 * time.Second},
		{time.Second, 0, 1, liveLeast},
	} {
		if got := pause(c.make, c.send, c.readers); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// BenchmarkShow makes what a page of 200 backends shows.
func BenchmarkShow(b *testing.B) {
	h, err := New([]health.Reporter{newShop(200)}, Options{Name: "gw"})
	if err != nil {
		b.Fatal(err)
	}
	h.past.tick(time.Now(), h.Report)
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(h.show())))
	}
}

// TestPulse: what a plot shows of a part is how often it is asked, however it counts that.
func TestPulse(t *testing.T) {
	count := func(name string, n uint64) health.Metric { return health.Count(name, "", n) }
	backends := func(n ...uint64) (out []health.Report) {
		for i, v := range n {
			out = append(out, health.Report{Kind: "backend", Name: fmt.Sprint(i), Metrics: []health.Metric{count("requests_failed_total", 7*v), count("requests_total", v)}})
		}
		return out
	}
	for name, c := range map[string]struct {
		was, now health.Report
		want     float64
	}{
		"its own":        {health.Report{Metrics: []health.Metric{count("retries_total", 1), count("requests_total", 10)}}, health.Report{Metrics: []health.Metric{count("retries_total", 9), count("requests_total", 40)}, Parts: backends(5)}, 3},
		"of its parts":   {health.Report{Metrics: []health.Metric{count("retries_total", 1)}, Parts: backends(10, 20)}, health.Report{Metrics: []health.Metric{count("retries_total", 9)}, Parts: backends(30, 50)}, 5},
		"its first":      {health.Report{Metrics: []health.Metric{count("saved_total", 1)}}, health.Report{Metrics: []health.Metric{count("saved_total", 21)}}, 2},
		"none":           {health.Report{}, health.Report{Metrics: []health.Metric{health.Level("in_hand", "", "", 5)}}, -1},
		"a new part":     {health.Report{Parts: backends(10)}, health.Report{Parts: backends(20, 50)}, -1},
		"begun anew":     {health.Report{Metrics: []health.Metric{count("requests_total", 10)}}, health.Report{Metrics: []health.Metric{count("requests_total", 4)}}, -1},
		"without a past": {health.Report{}, health.Report{Metrics: []health.Metric{count("requests_total", 4)}}, -1},
	} {
		rate, _ := pulse(&c.now, &c.was, 10)
		if got := plotted(rate); float64(got) != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
