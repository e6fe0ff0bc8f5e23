package edge_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/foretier/foretier/router/edge"
)

func Example() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", edge.Client(r))
	})
	srv, err := edge.New(hello, edge.Options{
		Addr:    "127.0.0.1:0",
		Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, // the proxy in front
		Linger:  -1,
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()

	req, err := http.NewRequest("GET", "http://"+srv.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	stop()
	fmt.Println(string(body), <-done)
	// Output:
	// hello, 203.0.113.9 <nil>
}

// A front in an http.Server of one's own: see the package's documentation for what
// is lost.
func ExampleServer_ServeHTTP() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", edge.Client(r))
	})
	front, err := edge.New(hello, edge.Options{NoPort: true, Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux() // where the front is one of several
	mux.Handle("/", front)
	mux.HandleFunc("/debug/", http.NotFound)
	own := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- own.Serve(l) }()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- front.Run(ctx) }() // with pools and caches, as ever

	res, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	stop()
	ended := <-done // no request of the front goes on
	err = own.Shutdown(context.Background())
	fmt.Println(string(body), ended, err, <-served)
	// Output:
	// hello, 127.0.0.1 <nil> <nil> http: Server closed
}
