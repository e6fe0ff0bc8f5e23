package main

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/foretier/foretier/router/edge"
)

// spans returns the tier's hook for OpenTelemetry: edge.Tracing's Spans. This is what to
// copy. What is not sampled costs next to nothing.
func spans(provider trace.TracerProvider) func(edge.Asked) edge.Span {
	tracer := provider.Tracer("github.com/foretier/foretier")
	return func(a edge.Asked) edge.Span {
		from := w3c.Extract(context.Background(), propagation.MapCarrier{"traceparent": a.Traceparent, "tracestate": a.Tracestate})
		path, query, _ := strings.Cut(a.Target, "?")
		attrs := []attribute.KeyValue{
			attribute.String("http.request.method", a.Method), attribute.String("url.scheme", a.Scheme),
			attribute.String("server.address", a.Host), attribute.String("url.path", path),
			attribute.String("client.address", a.Client.String()), attribute.String("foretier.request_id", a.ID),
		}
		if query != "" {
			attrs = append(attrs, attribute.Bool("foretier.query", true)) // not what it says: some have a token in it
		}
		ctx, s := tracer.Start(from, a.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(a.Came), trace.WithAttributes(attrs...))
		return &span{tracer, ctx, s, a.Method}
	}
}

var w3c propagation.TraceContext

// A span is one of a request's, with its context to begin others from.
type span struct {
	tracer trace.Tracer
	ctx    context.Context
	trace.Span
	method string
}

// Context implements [edge.Span].
func (s *span) Context(ctx context.Context) context.Context {
	return trace.ContextWithSpan(ctx, s.Span)
}

// Traceparent implements [edge.Span].
func (s *span) Traceparent() (traceparent, tracestate string) { return fieldsOf(s.ctx) }

// Try implements [edge.Span].
func (s *span) Try(backend string) (traceparent, tracestate string, end func(int, error)) {
	ctx, try := s.tracer.Start(s.ctx, s.method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("foretier.backend", backend), attribute.String("http.request.method", s.method)))
	traceparent, tracestate = fieldsOf(ctx)
	return traceparent, tracestate, func(status int, err error) {
		switch {
		case err != nil:
			try.SetStatus(codes.Error, err.Error())
		case status >= http.StatusBadRequest: // of a client's span
			try.SetStatus(codes.Error, "")
		}
		if status > 0 {
			try.SetAttributes(attribute.Int("http.response.status_code", status))
		}
		try.End()
	}
}

// names are OpenTelemetry's for what the log line says, and its own where there is none;
// what is not here the span has from its beginning.
var names = map[string]attribute.Key{
	"status": "http.response.status_code", "bytes": "http.response.body.size", "agent": "user_agent.original",
	"router": "foretier.rule", "cache": "foretier.cache", "esi": "foretier.esi", "backend": "foretier.backend", "attempts": "foretier.attempts",
	"aborted": "foretier.aborted", "cause": "foretier.cause",
}

// began are the keys of which the span knows already, or which are others' to know.
var began = map[string]bool{"id": true, "trace": true, "client": true, "method": true, "scheme": true, "host": true, "target": true, "proto": true, "took_s": true, "referer": true, "pool": true}

// End implements [edge.Span].
func (s *span) End(attrs iter.Seq[slog.Attr]) {
	defer s.Span.End()
	if !s.IsRecording() {
		return
	}
	for a := range attrs {
		switch key, known := names[a.Key]; {
		case known:
			s.SetAttributes(attributeOf(key, a.Value))
		case !began[a.Key]: // by edge.Annotate
			s.SetAttributes(attributeOf(attribute.Key(a.Key), a.Value))
		}
		switch {
		case a.Key == "router":
			s.SetName(s.method + " " + a.Value.String()) // of which there are few
		case a.Key == "status" && a.Value.Int64() >= http.StatusInternalServerError:
			s.SetStatus(codes.Error, "")
		}
	}
}

func attributeOf(key attribute.Key, v slog.Value) attribute.KeyValue {
	switch v.Kind() {
	case slog.KindInt64:
		return key.Int64(v.Int64())
	case slog.KindFloat64:
		return key.Float64(v.Float64())
	case slog.KindBool:
		return key.Bool(v.Bool())
	}
	return key.String(v.String())
}

// fieldsOf returns what is told of the span in ctx.
func fieldsOf(ctx context.Context) (traceparent, tracestate string) {
	c := make(propagation.MapCarrier, 2)
	w3c.Inject(ctx, c)
	return c["traceparent"], c["tracestate"]
}
