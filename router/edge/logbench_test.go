package edge_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

// BenchmarkLog is a request with its line, and without.
func BenchmarkLog(b *testing.B) {
	text := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, opts := range map[string]edge.Options{
		"off":      {NoAccessLog: true},
		"text":     {Logger: text},
		"json":     {Logger: slog.New(slog.NewJSONHandler(io.Discard, nil))},
		"own text": {Logger: slog.New(edge.NewLogHandler(io.Discard, edge.LogOptions{}))},
		"own json": {Logger: slog.New(edge.NewLogHandler(io.Discard, edge.LogOptions{JSON: true}))},
		"combined": {Combined: io.Discard, Logger: text},
	} {
		b.Run(name, func(b *testing.B) {
			opts.Addr = "127.0.0.1:0"
			srv, err := edge.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				transit.From(r.Context()).Note("cache", hit{})
			}), opts)
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			r := httptest.NewRequest("GET", "http://shop.example/product/7?color=red", nil)
			r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0")
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				srv.ServeHTTP(w, r)
			}
		})
	}
}

type hit struct{}

func (hit) LogValue() slog.Value { return slog.StringValue("hit") }

// BenchmarkLogWriter is a line's way into it: nobody waits for its reader.
func BenchmarkLogWriter(b *testing.B) {
	w := edge.NewLogWriter(io.Discard, nil)
	defer w.Close()
	line := bytes.Repeat([]byte("x"), 400)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(line)
	}
}
