package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/foretier/foretier/health"
)

func ExampleHTTP() {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer web.Close()
	u, err := url.Parse(web.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := health.HTTP("/healthz").Probe(context.Background(), health.Target{Name: "web1", URL: u})
	fmt.Println(res.State, res.Note, err)
	// Output: degraded 503 Service Unavailable <nil>
}

func ExampleProbeFunc() {
	// A probe of one's own: a queue that is too long makes a backend unwell.
	waiting := 900
	probe := health.ProbeFunc(func(context.Context, health.Target) (health.Result, error) {
		if waiting > 500 {
			return health.Result{State: health.Degraded, Note: fmt.Sprint(waiting, " jobs wait")}, nil
		}
		return health.Result{State: health.Up}, nil
	})
	res, err := probe.Probe(context.Background(), health.Target{Name: "worker1"})
	fmt.Println(res.State, res.Note, err)
	// Output: degraded 900 jobs wait <nil>
}

// A backends stands for a pool: it can tell.
type backends struct{ http.Handler }

func (backends) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "pool apps", Verdict: "web1", Why: "least latency"}
}

func (backends) Healthy(*http.Request) bool { return false }

func ExampleWrap() {
	apps := backends{http.NotFoundHandler()}
	timed := http.TimeoutHandler(apps, time.Second, "") // knows net/http alone
	shown := health.Wrap(timed, apps)

	r := httptest.NewRequest("GET", "/", nil)
	fmt.Println(health.Healthy(timed, r), health.Healthy(shown, r))
	fmt.Print(health.Explain(timed, r))
	fmt.Print(health.Explain(shown, r))
	// Output:
	// true false
	// handler: called (*http.timeoutHandler does not explain itself)
	// handler: called (*http.timeoutHandler does not explain itself)
	//   pool apps: web1 (least latency)
}

// A switcher sends half of a shop to another handler: a type that shows itself.
type switcher struct {
	on            func(*http.Request) bool
	beta, regular http.Handler
}

func (s *switcher) next(r *http.Request) (http.Handler, string) {
	if s.on(r) {
		return s.beta, "beta"
	}
	return s.regular, "regular"
}

func (s *switcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next, _ := s.next(r)
	next.ServeHTTP(w, r)
}

func (s *switcher) Wraps() []http.Handler { return []http.Handler{s.beta, s.regular} }

func (s *switcher) Healthy(r *http.Request) bool {
	next, _ := s.next(r)
	return health.Healthy(next, r)
}

func (s *switcher) Explain(r *http.Request) health.Decision {
	next, name := s.next(r)
	return health.Decision{Part: "switch", Verdict: name, Next: []health.Decision{health.Explain(next, r)}}
}

// One decision, two readers: what serves and what explains ask the same function.
func ExampleWrapper() {
	apps := backends{http.NotFoundHandler()}
	shop := &switcher{func(r *http.Request) bool { return r.Host == "beta.shop.example" }, http.NotFoundHandler(), apps}
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	fmt.Print(health.Explain(shop, r))
	fmt.Println(health.Healthy(shop, r))
	// Output:
	// switch: regular
	//   pool apps: web1 (least latency)
	// false
}
