package metrics_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/metrics"
	"github.com/foretier/foretier/internal/testkit"
)

type part health.Report

func (p part) Report() health.Report { return health.Report(p) }

// scrape returns the lines of a scrape that are this project's.
func scrape(t *testing.T, h http.Handler) []string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "foretier_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestScrape(t *testing.T) {
	var took health.Durations
	took.Add(2 * time.Millisecond)
	took.Add(time.Minute)
	h := metrics.Handler(nil, part{Kind: "pool", Name: "apps", State: health.Degraded,
		Metrics: []health.Metric{
			health.Count("retries_total", "Retries.", 3, health.Label{Name: "reason", Value: "error"}),
			health.Count("retries_total", "Retries.", 4, health.Label{Name: "reason", Value: `a "word"`}),
		},
		Parts: []health.Report{{Kind: "backend", Name: "web1", State: health.Up, Metrics: []health.Metric{
			health.Level("requests_in_flight", "Requests in hand.", "", 2),
			health.Distribution("wait_seconds", "Wait.", &took),
		}}},
	})
	got := strings.Join(scrape(t, h), "\n")
	for _, want := range []string{
		`# TYPE foretier_pool_retries_total counter`,
		`foretier_pool_retries_total{pool="apps",reason="error"} 3`,
		`foretier_pool_retries_total{pool="apps",reason="a \"word\""} 4`,
		`foretier_pool_state{pool="apps",state="degraded"} 1`,
		`foretier_pool_state{pool="apps",state="up"} 0`,
		`# TYPE foretier_backend_requests_in_flight gauge`,
		`foretier_backend_requests_in_flight{backend="web1",pool="apps"} 2`,
		`foretier_backend_state{backend="web1",pool="apps",state="up"} 1`,
		`# TYPE foretier_backend_wait_seconds histogram`,
		`foretier_backend_wait_seconds_bucket{backend="web1",pool="apps",le="0.001"} 0`,
		`foretier_backend_wait_seconds_bucket{backend="web1",pool="apps",le="0.0025"} 1`,
		`foretier_backend_wait_seconds_bucket{backend="web1",pool="apps",le="30"} 1`,
		`foretier_backend_wait_seconds_bucket{backend="web1",pool="apps",le="+Inf"} 2`,
		`foretier_backend_wait_seconds_sum{backend="web1",pool="apps"} 60.002`,
		`foretier_backend_wait_seconds_count{backend="web1",pool="apps"} 2`,
	} {
		if !strings.Contains(got+"\n", want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "_state{"); n != 8 {
		t.Errorf("%d states of two parts", n)
	}
}

// TestAPartThatCannotBeTold hides none of the others.
func TestAPartThatCannotBeTold(t *testing.T) {
	for name, bad := range map[string]health.Report{
		"a name":  {Kind: "\xff", Name: "x", Metrics: []health.Metric{health.Level("a", "A.", "", 1)}},
		"a label": {Kind: "bad", Name: "x", Metrics: []health.Metric{health.Level("a", "A.", "", 1, health.Label{Name: "__x", Value: "1"})}},
		"twins":   {Kind: "pool", Name: "apps"},
		"no text": {Kind: "bad", Name: "\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			h := metrics.Handler(slog.New(slog.NewTextHandler(&log, nil)),
				part(bad), part{Kind: "pool", Name: "apps", State: health.Up}, part{Kind: "cache", Name: "pages", State: health.Down})
			got := strings.Join(scrape(t, h), "\n")
			if !strings.Contains(got, `foretier_cache_state{cache="pages",state="down"} 1`) {
				t.Errorf("got %s", got)
			}
			if !strings.Contains(log.String(), "metrics of a part cannot be told") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

func Example() {
	h := metrics.Handler(nil, part{Kind: "warehouse", Name: "north", State: health.Up,
		Metrics: []health.Metric{health.Level("shelves_empty", "Shelves without goods.", "", 4)}})
	srv := httptest.NewServer(h)
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "shelves") {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP foretier_warehouse_shelves_empty Shelves without goods.
	// # TYPE foretier_warehouse_shelves_empty gauge
	// foretier_warehouse_shelves_empty{warehouse="north"} 4
}
