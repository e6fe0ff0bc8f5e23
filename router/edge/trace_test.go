package edge_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

type note string

func (n note) LogValue() slog.Value { return slog.StringValue(string(n)) }

func TestRouteTrace(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Route-Trace") != "" {
			t.Error("the wish went on to a backend")
		}
		rec := transit.From(r.Context())
		rec.Note("router", note("shop"))
		rec.Note("pool", note("web1\r\nX: y"))
		io.WriteString(w, "ok")
	})
	for trusted, want := range map[bool]string{true: "router=shop; pool=web1??X: y", false: ""} {
		opts := edge.Options{}
		if trusted {
			opts.Trusted = loopback
		}
		srv := serve(t, h, opts)
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Route-Trace", "1")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("X-Route-Trace"); got != want {
			t.Errorf("trusted %t: got %q, want %q", trusted, got, want)
		}
	}
}
