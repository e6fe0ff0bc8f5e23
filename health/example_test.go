package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

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
