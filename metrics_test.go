package foretier_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/metrics"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/acme"
	"github.com/foretier/foretier/router/edge/h3"
	"github.com/foretier/foretier/router/redislimit"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/php"
	"github.com/foretier/foretier/session/sqlstore"
)

// TestMetricNames holds each metric of each part against the rule that
// health.Metric states, and all of one name against one another: a collector
// that knows no part makes of it <project>_<kind>_<name>, with each part's name
// under its kind as a label.
func TestMetricNames(t *testing.T) {
	reports := reportsOfAll(t)
	families := make(map[string]health.Metric) // by kind of part and name
	kinds := make(map[string]bool)
	for _, r := range reports {
		kinds[r.Kind] = true
	}
	for _, r := range reports {
		if !snake.MatchString(r.Kind) {
			t.Errorf("the kind %q is not in snake case", r.Kind)
		}
		series := make(map[string]bool)
		for _, m := range r.Metrics {
			for _, fault := range metricFaults(r.Kind, m) {
				t.Errorf("%s %q: %s: %s", r.Kind, r.Name, m.Name, fault)
			}
			for _, l := range m.Labels {
				if kinds[l.Name] {
					t.Errorf("%s %q: %s: the label %s is a kind of part", r.Kind, r.Name, m.Name, l.Name)
				}
			}
			if id := fmt.Sprint(m.Name, m.Labels); series[id] {
				t.Errorf("%s %q reports %s twice", r.Kind, r.Name, id)
			} else {
				series[id] = true
			}
			key := r.Kind + " " + m.Name
			if f, ok := families[key]; ok && (f.Help != m.Help || f.Unit != m.Unit || f.Kind != m.Kind || !slices.EqualFunc(f.Labels, m.Labels, sameName)) {
				t.Errorf("%s means two things: %+v and %+v", key, f, m)
			}
			families[key] = m
		}
		for _, e := range r.Events {
			if e.Text == "" || strings.HasSuffix(e.Text, ".") {
				t.Errorf("%s %q: the event %q is no words without a full stop", r.Kind, r.Name, e.Text)
			}
		}
	}
	eachIsSeen(t, reports)
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// labelValues has every label, which means the same on whatever it stands, and
// what it may say: few words of ours, never a client's.
var labelValues = map[string][]string{
	"outcome": {"hit", "stale", "miss", "pass"},            // what the cache did
	"class":   {"1xx", "2xx", "3xx", "4xx", "5xx", "gone"}, // of the status; gone: the client left first
	// Why a response was not stored: the cache's words, and those of an operator's rules.
	"reason": {
		"pass: method", "pass: upgrade", "pass: body", "pass: precondition", "pass: HEAD", "pass: Range", "pass: loop",
		"pass: not to be stored lately", "pass: no fetch to share",
		"no-store", "private", "no-store in the request", "sets a cookie", "varies on anything", "varies by client", "varies by cookie",
		"request with a cookie", "request with Authorization", "error for a visitor's request", "status without a lifetime",
		"no lifetime", "speaks of one request's fields", "anybody can bring it about", "must-understand", "a part", "not modified",
		"unreachable", "unprocessed", "rescued", "broken off", "error", // why a request was tried again
		"answers a range", "end of the body unknown", "trailers", "too large", "no room", "a part of unknown place or size",
		"varies on what the pool writes", "asked for with fields that may fill nothing", "error of the tier", "by rule", "other",
	},
}

// metricFaults says what is wrong with a metric of a part of the kind.
func metricFaults(kind string, m health.Metric) (faults []string) {
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	wrong(!snake.MatchString(m.Name), "it is not in snake case")
	for _, prefix := range []string{"foretier_", kind + "_"} {
		wrong(strings.HasPrefix(m.Name, prefix), "it begins with %s, which the collector adds", prefix)
	}
	base, total := strings.CutSuffix(m.Name, "_total")
	wrong(total != (m.Kind == health.Counter), "a %s, and _total is for counters", m.Kind)
	unit := ""
	words := strings.Split(base, "_")
	for _, u := range []string{"seconds", "bytes", "ratio"} {
		if words[len(words)-1] == u {
			unit = u
		}
	}
	wrong(m.Unit != unit, "its unit is %q, by its name %q", m.Unit, unit)
	for _, w := range words {
		wrong(slices.Contains([]string{"gauge", "counter", "histogram", "total"}, w), "its kind stands in it")
		wrong(slices.Contains([]string{"ms", "millis", "milliseconds", "us", "ns", "minutes", "hours", "kb", "kib", "mb", "mib", "percent"}, w), "%s is no base unit", w)
	}
	// Of OpenMetrics, which makes series of these names itself.
	wrong(slices.Contains([]string{"created", "count", "sum", "bucket", "info"}, words[len(words)-1]), "its ending means something else")

	opening, _, _ := strings.Cut(m.Help, " ")
	opening = strings.TrimRight(opening, ",.:")
	wrong(strings.ToLower(opening) != words[0] || opening == words[0], "its help does not open with %q: %s", strings.ToUpper(words[0][:1])+words[0][1:], m.Help)
	wrong(strings.Count(m.Help+" ", ". ") != 1 || !strings.HasSuffix(m.Help, "."), "its help is not one sentence with a full stop: %s", m.Help)

	for _, l := range m.Labels {
		wrong(!slices.Contains(labelValues[l.Name], l.Value), "a label %s=%q that labelValues does not have", l.Name, l.Value)
	}
	return faults
}

func sameName(a, b health.Label) bool { return a.Name == b.Name }

func TestMetricFaults(t *testing.T) {
	counter := func(name, help string, labels ...health.Label) health.Metric {
		return health.Count(name, help, 1, labels...)
	}
	gauge := func(name, help, unit string) health.Metric { return health.Level(name, help, unit, 1) }
	for _, c := range []struct {
		m  health.Metric
		ok bool
	}{
		{counter("copies_dropped_total", "Copies dropped."), true},
		{counter("responses_total", "Responses ended.", health.Label{Name: "class", Value: "2xx"}), true},
		{counter("responses_total", "Responses ended.", health.Label{Name: "class", Value: "/cart"}), false},
		{counter("responses_total", "Responses ended.", health.Label{Name: "status", Value: "2xx"}), false},
		{counter("copies_droppedtotal", "Copies dropped."), false},
		{counter("copies_dropped", "Copies dropped."), false},
		{counter("mirror_copies_dropped_total", "Mirror's copies dropped."), false},
		{counter("foretier_copies_dropped_total", "Foretier copies dropped."), false},
		{counter("copiesDropped_total", "Copies dropped."), false},
		{counter("copies_created_total", "Copies created."), false},
		{counter("copies_dropped_total", "The copies dropped."), false},
		{counter("copies_dropped_total", "copies dropped."), false},
		{counter("copies_dropped_total", "Copies dropped"), false},
		{counter("copies_dropped_total", "Copies dropped. Nobody waits."), false},
		{counter("copies_dropped_total", ""), false},
		{gauge("used_bytes", "Used memory.", "bytes"), true},
		{gauge("used_bytes", "Used memory.", ""), false},
		{gauge("used", "Used memory.", "bytes"), false},
		{gauge("used_mib", "Used memory.", ""), false},
		{gauge("wait_milliseconds", "Wait for a place.", "milliseconds"), false},
		{gauge("copies_total", "Copies in all.", ""), false},
		{gauge("copies_gauge", "Copies in all.", ""), false},
		{gauge("copies_count", "Copies in all.", ""), false},
	} {
		if faults := metricFaults("mirror", c.m); (len(faults) == 0) != c.ok {
			t.Errorf("%+v: %v", c.m, faults)
		}
	}
}

// TestMetricsAsPrometheusWantsThem: what all parts report passes for what its own
// linter asks, and what alerts and dashboard of the gateway and the pages on running it
// name is there.
func TestMetricsAsPrometheusWantsThem(t *testing.T) {
	parts := partsOfAll(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(parts...))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	known := make(map[string]bool)
	for _, f := range families {
		known[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, of := range []string{"_bucket", "_sum", "_count"} {
				known[f.GetName()+of] = true
			}
		}
	}
	for _, name := range []string{"examples/gateway/alerts.yml", "examples/gateway/dashboard.json", "docs/first-night.md"} {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`foretier_[a-z0-9_]+`).FindAllString(string(text), -1)
		if len(asked) < 12 {
			t.Errorf("%s asks for %d metrics", name, len(asked))
		}
		for _, m := range asked {
			if strings.HasPrefix(m, "foretier_file_") {
				continue // the gateway's own: its TestAlertsOnFiles
			}
			if !known[m] {
				t.Errorf("%s asks for %s, which nobody reports", name, m)
			}
		}
	}
}

// reportsOfAll returns what every part of the library reports when it has all to
// report that it can, the parts of parts too.
func reportsOfAll(t *testing.T) (all []health.Report) {
	var add func(r health.Report)
	add = func(r health.Report) {
		all = append(all, r)
		for _, part := range r.Parts {
			add(part)
		}
	}
	add(must(status.New(partsOfAll(t), status.Options{})).Report())
	return all
}

// partsOfAll returns one of each part of the library, with all that it can have.
func partsOfAll(t *testing.T) []health.Reporter {
	none := http.NotFoundHandler()
	apps := must(balancer.New([]balancer.Backend{{Name: "web1", Handler: none}}, balancer.Options{Name: "apps"}))
	db := must(tcp.New([]tcp.Backend{{URL: "tcp://192.0.2.1:3306"}}, tcp.Options{Name: "db", Probe: primaryProbe, Logger: slog.New(slog.DiscardHandler)}))
	pages := must(cache.New(cache.Options{Feed: new(cachetest.Log).Join("gateway"), Store: new(cachetest.Store).Join("gateway")}))
	base := must(sql.Open("mysql", "shop@tcp(192.0.2.1:3306)/shop"))
	table := must(sqlstore.New(base, sqlstore.MySQL, sqlstore.Options{}))
	sessions := must(session.New(table, session.Options{}))
	sticky := must(session.NewSticky(make([]byte, 32), session.StickyOptions{}))
	reader := must(php.New(must(php.Memcached("192.0.2.1:11211")), php.Options{}))
	front := must(router.New(router.Options{}, router.Rule{Name: "shop",
		Allow: []netip.Prefix{netip.MustParsePrefix("::/0")}, Limit: router.Limit{Rate: 1},
		To: router.Fallback(apps, none)}))
	zip := must(compress.New(compress.Options{}))
	issued := must(acme.New(acme.Options{Hosts: []string{"shop.example"}, Storage: acme.Folder(t.TempDir())}))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Combined: io.Discard, Issuer: issued, HTTP3: must(h3.New(h3.Options{Addr: "127.0.0.1:0"}))}))
	for _, c := range []io.Closer{issued, apps, db, pages, sessions, base, reader, srv} {
		t.Cleanup(func() { _ = c.Close() })
	}

	// A cache that has not stored something.
	pages.Handler(none).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))

	// A database that somebody has asked what it is.
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- db.Run(ctx) }()
	if err := db.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	shared := must(redislimit.New(redis.NewClient(&redis.Options{Addr: "192.0.2.1:6379"}), redislimit.Options{}))
	t.Cleanup(func() { _ = shared.Close() })

	return []health.Reporter{must(router.NewLimiter("api", router.Limit{Rate: 1})), shared, must(router.NewAsk(none, router.AskOptions{})), apps, db, pages, must(esi.New(esi.Options{})), sessions, sticky, reader, front, srv, zip,
		router.NewMirror(none), health.Wrap(none, none).(health.Reporter)}
}

var primaryProbe = health.ProbeFunc(func(context.Context, health.Target) (health.Result, error) {
	return health.Result{State: health.Up, Role: health.RolePrimary, Epoch: 1}, nil
})

// eachIsSeen looks for every metric and every kind of part in the library's text
// among reports, so that none escapes the rule.
func eachIsSeen(t *testing.T, reports []health.Report) {
	kinds, metrics := make(map[string]bool), make(map[string]bool)
	for _, r := range reports {
		kinds[r.Kind] = true
		for _, m := range r.Metrics {
			metrics[m.Name+": "+m.Help] = true
		}
	}
	files, found := token.NewFileSet(), 0
	// literal returns the text of a string that stands there as such.
	literal := func(e ast.Expr, what string) string {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			t.Errorf("%v: %s is no literal: nobody can look for it", files.Position(e.Pos()), what)
			return ""
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	seeCall := func(n *ast.CallExpr) {
		if f := ofHealth(n.Fun); (f != "Count" && f != "Level" && f != "Distribution") || len(n.Args) < 2 {
			return
		}
		found++
		if m := literal(n.Args[0], "a metric's name") + ": " + literal(n.Args[1], "its help"); !metrics[m] {
			t.Errorf("%v: no report of reportsOfAll has %s", files.Position(n.Pos()), m)
		}
	}
	seeLiteral := func(n *ast.CompositeLit) {
		switch ofHealth(n.Type) {
		case "Metric":
			t.Errorf("%v: a metric that health.Count, health.Level and health.Distribution have not made", files.Position(n.Pos()))
		case "Report":
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Kind" {
					found++
					if k := literal(kv.Value, "a kind"); !kinds[k] {
						t.Errorf("%v: no report of reportsOfAll is of the kind %s", files.Position(n.Pos()), k)
					}
				}
			}
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != "." && !errors.Is(err, fs.ErrNotExist) {
				return fs.SkipDir // another module's
			}
			if path == "examples" {
				return fs.SkipDir // programs, which nobody can import: their own tests lint their metrics
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				seeCall(n)
			case *ast.CompositeLit:
				seeLiteral(n)
			}
			return true
		})
		return nil
	})
	if err != nil || found < 50 {
		t.Errorf("only %d metrics and kinds in the text, %v", found, err)
	}
}

// ofHealth returns the name of what e takes from package health, or "".
func ofHealth(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "health" {
			return s.Sel.Name
		}
	}
	return ""
}
