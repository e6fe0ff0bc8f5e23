// Tracing is a tier whose requests are spans of OpenTelemetry's, in front of a page of
// its own whose server is traced by otelhttp, as a shop's may be:
//
//	cd examples/tracing && go run . & curl localhost:8080/
//
// prints three spans of one trace: the request at the tier, its attempt at the backend,
// and what the backend has made of it; asked again, the page is a hit, and one span. It is
// a module of its own, so that nobody else who uses the tier has OpenTelemetry among their
// modules. Give the provider the exporter of your collector (otlptracehttp), and a sampler.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "tracing: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(out), stdouttrace.WithPrettyPrint())
	if err != nil {
		return err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	shop := &http.Server{Handler: page(provider)}
	ended := make(chan error, 1)
	go func() { ended <- shop.Serve(l) }()
	t, err := build(provider, edge.Options{Addr: "127.0.0.1:8080", Linger: -1}, "http://"+l.Addr().String())
	if err == nil {
		err = t.Run(ctx)
	}
	err = errors.Join(err, shop.Close(), provider.Shutdown(context.WithoutCancel(ctx)))
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// page is a shop, which finds its part in the trace by itself.
func page(provider *sdk.TracerProvider) http.Handler {
	return otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10")
		_, _ = io.WriteString(w, "a page\n") // a client that is gone misses nothing
	}), "page", otelhttp.WithTracerProvider(provider), otelhttp.WithPropagators(w3c))
}

// A tier is what there is to run.
type tier struct {
	srv   *edge.Server
	apps  *balancer.Pool
	pages *cache.Cache
}

// build is the tier.
func build(provider *sdk.TracerProvider, opts edge.Options, backends ...string) (t tier, err error) {
	if t.apps, err = balancer.New(balancer.Backends(backends...), balancer.Options{Name: "apps"}); err != nil {
		return t, err
	}
	if t.pages, err = cache.New(cache.Options{}); err != nil {
		return t, err
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: t.pages.Handler(t.apps)})
	if err != nil {
		return t, err
	}
	opts.Tracing = edge.Tracing{Spans: spans(provider)}
	t.srv, err = edge.New(front, opts)
	return t, err
}

// Run serves until ctx ends.
func (t tier) Run(ctx context.Context) error { return t.srv.Run(ctx, t.apps, t.pages) }
