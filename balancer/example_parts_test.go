package balancer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/foretier/foretier/balancer"
)

// says is a backend in this process that answers with its name.
func says(name string) balancer.Backend {
	return balancer.Backend{Name: name, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	})}
}

// ask returns what h answers to a GET of target.
func ask(h http.Handler, target string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example"+target, nil))
	return w.Body.String()
}

// Two releases side by side in one pool: the same backends, states and figures, and an
// excerpt for each.
func ExamplePool_Only() {
	blue, green := says("web1"), says("web2")
	blue.Labels, green.Labels = map[string]string{"color": "blue"}, map[string]string{"color": "green"}
	apps, err := balancer.New([]balancer.Backend{blue, green}, balancer.Options{Name: "apps"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apps.Close()
	colored := func(color string) func(balancer.Status) bool {
		return func(s balancer.Status) bool { return s.Labels["color"] == color }
	}
	shop := apps.Only("shop", colored("blue"))
	preview := apps.Only("preview", colored("green"), colored("blue")) // what is left, if green is down
	fmt.Println(ask(shop, "/"), ask(preview, "/"))
	if err := apps.SetMode("web2", balancer.Maintenance); err != nil {
		fmt.Println(err)
	}
	fmt.Println(ask(shop, "/"), ask(preview, "/"))
	// Output:
	// web1 web2
	// web1 web1
}

// Servers come and go while the pool serves: those that are known keep their state, and
// one that is gone finishes what it has in hand.
func ExamplePool_Update() {
	apps, err := balancer.New([]balancer.Backend{says("web1"), says("web2")}, balancer.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apps.Close()
	if err := apps.Update([]balancer.Backend{says("web2"), says("web3")}); err != nil {
		fmt.Println(err)
	}
	for _, b := range apps.Backends() {
		fmt.Println(b.Name)
	}
	// Output:
	// web2
	// web3
}

// One server for each product, so that each server's own cache has a part of the shop.
func ExampleHash() {
	byPath := balancer.Hash(func(r *http.Request) string { return r.URL.Path }, 0)
	apps, err := balancer.New([]balancer.Backend{says("web1"), says("web2"), says("web3")}, balancer.Options{Policy: byPath})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apps.Close()
	first := ask(apps, "/product/42")
	for range 3 {
		fmt.Println(ask(apps, "/product/42") == first)
	}
	// Output:
	// true
	// true
	// true
}

// Servers that a name server knows, in Kubernetes by a headless service: each address is a
// backend. They are looked up while Run runs.
func ExampleDNS() {
	apps, err := balancer.New(nil, balancer.Options{
		Name:   "apps",
		Source: balancer.DNS("http://apps.shop.svc.cluster.local:8080", 10*time.Second),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apps.Close()
	fmt.Println(len(apps.Backends()), "backends before the first lookup")
	// Output: 0 backends before the first lookup
}

// A pool is a client's transport, too: for calls of one's own to several servers, with
// the same probes and retries.
func ExamplePool_RoundTrip() {
	prices, err := balancer.New([]balancer.Backend{says("price1")}, balancer.Options{Name: "prices"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prices.Close()
	client := &http.Client{Transport: prices, Timeout: 2 * time.Second}
	res, err := client.Get("http://prices/v1/42")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Println(res.Status, string(body), err)
	// Output: 200 OK price1 <nil>
}

// One at each server at once, and nobody waits: for a report that takes the whole server.
// Without Queue those beyond wait, in turns by client.
func ExampleLimits() {
	busy := make(chan bool)
	slow := balancer.Backend{Name: "web1", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		busy <- true
		<-busy
	})}
	apps, err := balancer.New([]balancer.Backend{slow}, balancer.Options{Limits: balancer.Limits{InFlight: 1, Queue: -1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apps.Close()
	first := make(chan string)
	go func() { first <- ask(apps, "/slow") }()
	<-busy
	w := httptest.NewRecorder()
	apps.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/", nil))
	fmt.Println(w.Code, "Retry-After:", w.Header().Get("Retry-After"))
	busy <- true
	<-first
	// Output: 503 Retry-After: 5
}
