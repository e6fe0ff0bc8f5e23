package foretier_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestWhatBecomesOfRequestsByRule: with and without what answers from heads a rule tells
// of its responses and of what a cache behind it did, each once.
func TestWhatBecomesOfRequestsByRule(t *testing.T) {
	for _, noInstant := range []bool{false, true} {
		pages := must(cache.New(cache.Options{Rules: cache.Rules{PlanByURL: true}}))
		slow := make(chan struct{})
		backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/none":
				w.WriteHeader(http.StatusNotFound)
			case "/broken":
				w.WriteHeader(http.StatusBadGateway)
			case "/silent": // which is 200
			case "/slow":
				close(slow)
				<-r.Context().Done()
			default:
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("ETag", `"1"`)
				fmt.Fprint(w, "page")
			}
		})
		front := must(router.New(router.Options{}, router.Rule{Name: "plain", When: router.Path("/plain/*"), To: router.Redirect(302, "/a")}, router.Rule{Name: "shop", To: pages.Handler(backend)}))
		srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Linger: -1, NoInstant: noInstant, NoAccessLog: true, Logger: slog.New(slog.DiscardHandler)}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(ctx, pages) }()
		client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		get := func(ctx context.Context, path string, header ...string) {
			r := must(http.NewRequestWithContext(ctx, "GET", "http://"+srv.Addr().String()+path, nil))
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			if res, err := client.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
		for range 4 {
			get(t.Context(), "/a")
		}
		for range 3 {
			get(t.Context(), "/a", "If-None-Match", `"1"`)
		}
		for _, path := range []string{"/none", "/broken", "/silent", "/plain/x"} {
			get(t.Context(), path)
		}
		left, leave := context.WithCancel(t.Context())
		go func() { <-slow; leave() }()
		get(left, "/slow")
		tell := func() (said string) {
			for _, rule := range front.Report().Parts {
				said += rule.Name
				for _, m := range rule.Metrics {
					if (m.Name == "responses_total" || m.Name == "lookups_total") && m.Value > 0 {
						said += fmt.Sprint(" ", m.Labels[0].Value, "=", m.Value)
					}
				}
				said += "; "
			}
			return said
		}
		const want = "plain 3xx=1; shop gone=1 2xx=5 3xx=3 4xx=1 5xx=1 hit=6 miss=4; " // whoever has left got no answer of the cache's
		testkit.Within(t, 10*time.Second, "whoever has left is noticed", func() bool { return strings.Contains(tell(), "gone=1") })
		if got := tell(); got != want {
			t.Errorf("without what answers from heads: %t:\ngot  %s\nwant %s", noInstant, got, want)
		}
		if instant := metricOf(t, srv.Report(), "requests_instant_total"); (instant > 0) == noInstant {
			t.Errorf("%v were answered from heads", instant)
		}
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
