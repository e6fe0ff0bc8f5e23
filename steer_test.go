package foretier_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/internal/testkit"
)

// TestSteering: what the parts of a tier say that they can be told is done when it is
// ordered at the status page, and what is wrong is refused with what would be right.
func TestSteering(t *testing.T) {
	none := http.NotFoundHandler()
	apps := must(balancer.New([]balancer.Backend{{Name: "web1", Handler: none}, {Name: "web2", Handler: none}}, balancer.Options{Name: "apps"}))
	peers := health.ProbeFunc(func(context.Context, health.Target) (health.Result, error) {
		return health.Result{State: health.Up, Role: health.RolePeer}, nil
	})
	db := must(tcp.New([]tcp.Backend{{Name: "db1", URL: "tcp://192.0.2.1:3306"}, {Name: "db2", URL: "tcp://192.0.2.2:3306"}}, tcp.Options{Name: "db", Probe: peers, Logger: slog.New(slog.DiscardHandler)}))
	pages := must(cache.New(cache.Options{Name: "pages"}))
	front := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Cache-Tag", "product-7")
		_, _ = io.WriteString(w, "page")
	}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = apps.Close(); _ = db.Close(); _ = pages.Close() })

	page := must(status.New([]health.Reporter{apps, db, pages}, status.Options{Name: "gw", Act: func(*http.Request) error { return nil }, Logger: slog.New(slog.DiscardHandler)}))
	post := func(kind, name, part, verb, arg string) (int, string) {
		form := url.Values{"kind": {kind}, "name": {name}, "part": {part}, "verb": {verb}, "arg": {arg}}
		r := httptest.NewRequest("POST", "http://localhost/act", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	stored := func() string { return fmt.Sprint(metricOf(t, pages.Report(), "responses_stored")) }
	primary := func() (names string) {
		for _, b := range db.Report().Parts {
			for _, m := range b.Metrics { // who was not probed yet has none
				if m.Name == "primary" && m.Value == 1 {
					names += b.Name
				}
			}
		}
		return names
	}
	testkit.Within(t, 10e9, "a primary is known", func() bool { return primary() != "" })
	other := map[string]string{"db1": "db2", "db2": "db1"}[primary()]
	front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example/7", nil))

	for _, o := range []struct {
		kind, name, part, verb, arg string
		status                      int
		said                        string
		now                         func() string
		want                        string
	}{
		{"pool", "apps", "web1", "drain", "", 200, "ok", func() string { return apps.Backends()[0].Mode.String() }, "drain"},
		{"pool", "apps", "web1", "maintenance", "", 200, "ok", func() string { return apps.Backends()[0].Mode.String() }, "maintenance"},
		{"pool", "apps", "web1", "ready", "", 200, "ok", func() string { return apps.Backends()[0].Mode.String() }, "ready"},
		{"pool", "apps", "web1", "drain", "now", 409, "no further word", func() string { return apps.Backends()[0].Mode.String() }, "ready"},
		{"pool", "apps", "web3", "drain", "", 409, "it does nothing", nil, ""},
		{"pool", "apps", "web1", "primary", "", 409, "it does ready, drain, maintenance", nil, ""},
		{"pool", "db", "db9", "primary", "", 409, "it does nothing", nil, ""},
		{"pool", "db", other, "primary", "soon", 409, "no further word", nil, ""},
		{"pool", "db", other, "primary", "", 200, "ok", primary, other},
		{"cache", "pages", "pages", "purge tag", "product-*", 409, "no pattern", stored, "1"},
		{"cache", "pages", "pages", "purge url", "/7", 409, "not an absolute http URL", stored, "1"},
		{"cache", "pages", "pages", "purge", "all", 409, "it does purge url, purge tag", stored, "1"},
		{"cache", "images", "images", "purge all", "", 409, "/status.json lists", stored, "1"},
		{"cache", "pages", "pages", "purge tag", "product-7", 200, "ok", stored, "0"},
	} {
		code, said := post(o.kind, o.name, o.part, o.verb, o.arg)
		if code != o.status || !strings.Contains(said, o.said) {
			t.Errorf("%+v: %d %s", o, code, said)
		}
		if o.now != nil {
			if got := o.now(); got != o.want {
				t.Errorf("%s %s %s: it is %q then, want %q", o.verb, o.part, o.arg, got, o.want)
			}
		}
	}
}

func metricOf(t *testing.T, r health.Report, name string) float64 {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("%s %s reports no %s", r.Kind, r.Name, name)
	return 0
}
