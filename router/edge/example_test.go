package edge_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"

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
