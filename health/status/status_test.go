package status_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
)

type part health.Report

func (p part) Report() health.Report { return health.Report(p) }

func mustNew(t *testing.T, parts []health.Reporter, opts status.Options) *status.Handler {
	t.Helper()
	h, err := status.New(parts, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestStatusShowsEveryPartAndTheWorstState(t *testing.T) {
	h := mustNew(t, []health.Reporter{
		part{Kind: "pool", Name: "origin", State: health.Unknown},
		part{Kind: "pool", Name: "apps", State: health.Degraded, Why: "web2 is down",
			Metrics: []health.Metric{health.Count("requests_total", "", 7)}},
		part{Kind: "cache", Name: "pages", State: health.Up},
	}, status.Options{Name: "front1"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost:8081/status.json", nil))
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
	h := mustNew(t, []health.Reporter{part{State: health.Unknown}}, status.Options{})
	if got := h.Report().State; got != health.Up {
		t.Errorf("got %s, want up", got)
	}
}

func TestReadyAndHealthy(t *testing.T) {
	var ready error
	h := mustNew(t, nil, status.Options{Ready: func() error { return ready }})
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

// Nobody could tell two parts of one kind and name apart.
func TestPartsAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		parts []health.Reporter
		hosts []string
		want  string // "": it is right
	}{
		"different": {[]health.Reporter{part{Kind: "pool", Name: "a"}, part{Kind: "pool", Name: "b"}, part{Kind: "cache", Name: "a"}}, nil, ""},
		"twice":     {[]health.Reporter{part{Kind: "pool", Name: "a"}, part{Kind: "pool", Name: "a"}}, nil, `two parts are pool "a"`},
		"within one": {[]health.Reporter{part{Kind: "pool", Name: "a", Parts: []health.Report{{Kind: "backend", Name: "b"}, {Kind: "backend", Name: "b"}}}}, nil,
			`pool "a": two parts are backend "b"`},
		"within two": {[]health.Reporter{part{Kind: "pool", Name: "a", Parts: []health.Report{{Kind: "backend", Name: "b"}}},
			part{Kind: "pool", Name: "c", Parts: []health.Report{{Kind: "backend", Name: "b"}}}}, nil, ""},
		"nil":         {[]health.Reporter{nil}, nil, "part 0 is a nil"},
		"a nil part":  {[]health.Reporter{part{Kind: "a"}, (*pointer)(nil)}, nil, "part 1 is a nil *status_test.pointer"},
		"hosts":       {nil, []string{"gw1.internal", "192.0.2.1", "[::1]", "GW2"}, ""},
		"host of URL": {nil, []string{"http://gw1"}, "without scheme and port"},
		"host:port":   {nil, []string{"gw1:8081"}, "without scheme and port"},
		"host, empty": {nil, []string{""}, "without scheme and port"},
		"any host":    {nil, []string{"*"}, "without scheme and port"},
	} {
		_, err := status.New(c.parts, status.Options{Hosts: c.hosts})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

type pointer struct{}

func (*pointer) Report() health.Report { return health.Report{} }

// A stranger's page whose name leads to the server's address (DNS rebinding)
// reads nothing.
func TestReportUnderOwnNamesOnly(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mustNew(t, nil, status.Options{Hosts: []string{"GW1.internal", "192.0.2.1"}}))
	defer srv.Close()
	for host, want := range map[string]int{
		srv.Listener.Addr().String(): 200, "localhost": 200, "LOCALHOST:8081": 200, "gw.localhost:1": 200, "127.0.0.1": 200, "[::1]:8081": 200,
		name: 200, strings.ToUpper(name) + ".:8081": 200, "gw1.internal:8081": 200, "192.0.2.1": 200,
		"evil.example": 421, "evil.example:8081": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		name + ".evil.example": 421, "203.0.113.77": 421, "[2001:db8::1]": 421, "evillocalhost": 421,
	} {
		for path, probe := range map[string]bool{"/status.json": false, "/healthz": true, "/readyz": true} {
			req, err := http.NewRequest("GET", srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if want := map[bool]int{true: 200, false: want}[probe]; res.StatusCode != want || err != nil {
				t.Errorf("%s of %s: got %d, want %d", path, host, res.StatusCode, want)
			}
			if res.StatusCode == 421 && strings.Contains(string(body), "tier") {
				t.Errorf("%s is told %s", host, body)
			}
		}
	}
}

// A part that takes another's name later is shown all the same.
func TestNamesThatMeetLater(t *testing.T) {
	first, second := &named{"a"}, &named{"b"}
	h := mustNew(t, []health.Reporter{first, second}, status.Options{})
	second.name = "a"
	if got := h.Report().Parts; len(got) != 2 || got[0].Name != "a" || got[1].Name != "a" {
		t.Errorf("got %+v", got)
	}
}

type named struct{ name string }

func (n *named) Report() health.Report { return health.Report{Kind: "pool", Name: n.name} }
