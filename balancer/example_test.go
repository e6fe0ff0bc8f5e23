package balancer_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/health"
)

func server(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, name)
	}))
}

func Example() {
	web1, web2 := server("web1"), server("web2")
	defer web1.Close()
	defer web2.Close()

	pool, err := balancer.New(balancer.Backends(web1.URL, web2.URL), balancer.Options{
		Probe: health.HTTP("/healthz"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- pool.Run(ctx) }() // probes
	if err := pool.WaitReady(ctx); err != nil {
		fmt.Println(err)
	}

	web1.Close() // dies, and nobody notices
	for range 4 {
		w := httptest.NewRecorder()
		pool.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/", nil))
		fmt.Println(w.Code, w.Body)
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	// Output:
	// 200 web2
	// 200 web2
	// 200 web2
	// 200 web2
}

func ExamplePool_SetMode() {
	page := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "page") }
	pool, err := balancer.New([]balancer.Backend{
		{Name: "web1", Handler: http.HandlerFunc(page)},
		{Name: "web2", Handler: http.HandlerFunc(page)},
	}, balancer.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	if err := pool.SetMode("web1", balancer.Maintenance); err != nil {
		fmt.Println(err)
	}
	for _, b := range pool.Backends() {
		fmt.Println(b.Name, b.Mode)
	}
	d := pool.Explain(httptest.NewRequest("GET", "/", nil))
	fmt.Println(d.Verdict+":", d.Why)
	// Output:
	// web1 maintenance
	// web2 ready
	// web2: the only one that may serve
}

// A policy of one's own sees what the pool knows of each backend.
type fewestWaiting struct{}

func (fewestWaiting) Pick(_ balancer.PickInfo, c balancer.Candidates) int {
	best := 0
	for i := range c.Len() {
		if c.At(i).Waiting < c.At(best).Waiting {
			best = i
		}
	}
	return best
}

func ExamplePolicy() {
	pick := fewestWaiting{}.Pick(balancer.PickInfo{}, balancer.Given(
		balancer.Candidate{Name: "web1", Waiting: 3},
		balancer.Candidate{Name: "web2", Waiting: 1},
	))
	fmt.Println(pick)
	// Output: 1
}
