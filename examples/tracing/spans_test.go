package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// TestSpans: a request, its attempts and what a backend makes of it are one trace, each
// below the one that has caused it, with what is to be known of them.
func TestSpans(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	shop := httptest.NewServer(page(provider))
	defer shop.Close()
	built, err := build(provider, edge.Options{Addr: "127.0.0.1:0", Linger: -1, Logger: slog.New(slog.DiscardHandler)}, "http://"+testkit.Nobody(t), shop.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	const brought = "4bf92f3577b34da6a3ce929d0e0e4736"
	ask := func(path string, spans int) map[string]tracetest.SpanStub {
		t.Helper()
		exporter.Reset()
		r, err := http.NewRequest("GET", "http://"+built.srv.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", "00-"+brought+"-00f067aa0ba902b7-01") // a stranger's, which does not count
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		testkit.Within(t, testkit.Patience, "all spans have ended", func() bool { return len(exporter.GetSpans()) >= spans })
		all := make(map[string]tracetest.SpanStub)
		for _, s := range exporter.GetSpans() {
			name := "request"
			if strings.HasSuffix(s.InstrumentationScope.Name, "otelhttp") {
				name = "page"
			}
			if s.SpanKind == trace.SpanKindClient {
				name = "attempt"
				if s.Status.Code == codes.Error {
					name = "failed attempt"
				}
			}
			all[name] = s
		}
		return all
	}
	// Which backend is asked first is the pool's to choose: a page is asked for that is not
	// stored until it has been the one that nobody listens at.
	for i := 0; ; i++ {
		all := ask("/"+string(rune('a'+i)), 3)
		request, try, served := all["request"], all["attempt"], all["page"]
		id := request.SpanContext.TraceID()
		if request.Name != "GET shop" || id.String() == brought || request.Parent.IsValid() || request.SpanKind != trace.SpanKindServer {
			t.Errorf("the request: %+v", request)
		}
		if try.Parent.SpanID() != request.SpanContext.SpanID() || served.Parent.SpanID() != try.SpanContext.SpanID() || served.SpanContext.TraceID() != id || !served.Parent.IsRemote() {
			t.Errorf("they are not below one another: %v %v %v", request.SpanContext, try, served)
		}
		told := attributes(request)
		if told["foretier.rule"] != "shop" || told["http.response.status_code"] != int64(200) || told["foretier.backend"] != shop.Listener.Addr().String() || told["foretier.cache"] == nil {
			t.Errorf("told of the request: %v", told)
		}
		failed, ok := all["failed attempt"]
		if ok != (told["foretier.attempts"] == int64(2)) {
			t.Errorf("attempts: %v, one failed %t", told["foretier.attempts"], ok)
		}
		if ok {
			if failed.Parent.SpanID() != request.SpanContext.SpanID() || attributes(failed)["foretier.backend"] == told["foretier.backend"] || failed.Status.Description == "" {
				t.Errorf("the attempt that failed: %+v", failed)
			}
			break
		}
		if i > 20 {
			t.Fatal("no attempt fails")
		}
	}
	for range 3 { // by the chain, and from its head
		all := ask("/a", 1)
		if told := attributes(all["request"]); len(all) != 1 || told["foretier.cache"] != "hit" || told["foretier.attempts"] != nil {
			t.Errorf("a hit: %v of %d spans", told, len(all))
		}
	}
}

func attributes(s tracetest.SpanStub) map[string]any {
	all := make(map[string]any)
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}
