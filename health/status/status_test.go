package status_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
)

type part health.Report

func (p part) Report() health.Report { return health.Report(p) }

func TestStatusShowsEveryPartAndTheWorstState(t *testing.T) {
	h := status.New([]health.Reporter{
		part{Kind: "pool", Name: "origin", State: health.Unknown},
		part{Kind: "pool", Name: "apps", State: health.Degraded, Why: "web2 is down",
			Metrics: []health.Metric{health.Count("requests_total", "", 7)}},
		part{Kind: "cache", Name: "pages", State: health.Up},
	}, status.Options{Name: "front1"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/status.json", nil))
	var got struct {
		Name, Why string
		State     health.State
		Parts     []struct {
			Name    string
			State   health.State
			Metrics []struct {
				Name, Kind string
				Value      float64
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "front1" || got.State != health.Degraded || got.Why != "pool apps: web2 is down" {
		t.Errorf("tier: %+v", got)
	}
	if len(got.Parts) != 3 || got.Parts[1].Metrics[0].Value != 7 || got.Parts[1].Metrics[0].Kind != "counter" {
		t.Errorf("parts: %+v", got.Parts)
	}
}

func TestNobodyJudgedYetIsUp(t *testing.T) {
	h := status.New([]health.Reporter{part{State: health.Unknown}}, status.Options{})
	if got := h.Report().State; got != health.Up {
		t.Errorf("got %s, want up", got)
	}
}

func TestReadyAndHealthy(t *testing.T) {
	var ready error
	h := status.New(nil, status.Options{Ready: func() error { return ready }})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	ready = errors.New("edge: draining")
	if code, body := get("/readyz"); code != 503 || body != "edge: draining\n" {
		t.Errorf("draining: %d %q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz while draining: %d", code)
	}
	if code, _ := get("/elsewhere"); code != 404 {
		t.Errorf("elsewhere: %d", code)
	}
}
