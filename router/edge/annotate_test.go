package edge_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestAnnotate: what users say of a request stands in its line, wherever they say it.
func TestAnnotate(t *testing.T) {
	pages, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	app := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		edge.Annotate(r.Context(), slog.Int("queries", 3), slog.Attr{})
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "page")
	}))
	tenant := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			edge.Annotate(r.Context(), slog.String("tenant", "a \"b"), slog.Group("user", slog.Bool("admin", true)))
			next.ServeHTTP(w, r)
		})
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", Use: []func(http.Handler) http.Handler{tenant}, To: app})
	if err != nil {
		t.Fatal(err)
	}
	edge.Annotate(context.Background(), slog.Int("nobody", 1)) // which no line has
	for name, make := range map[string]func(io.Writer) slog.Handler{
		"the tier's handler": func(w io.Writer) slog.Handler { return edge.NewLogHandler(w, edge.LogOptions{JSON: true}) },
		"slog's":             func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var log lines
		srv := serve(t, front, edge.Options{Logger: slog.New(make(&log))})
		path := "/" + strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", "")
		for range 2 {
			srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		}
		got := requests(log.all(t))
		for i, line := range got {
			user, _ := line["user"].(map[string]any)
			if line["tenant"] != `a "b` || user["admin"] != true {
				t.Errorf("%s: %v", name, line)
			}
			if queries := line["queries"]; (queries == 3.0) != (i == 0) {
				t.Errorf("%s: request %d: queries %v", name, i, queries)
			}
		}
		if len(got) != 2 {
			t.Errorf("%s: %d lines", name, len(got))
		}
	}
}

// TestAnnotatedAnswersAreNotLearned: what is said of one request is not said of the next.
func TestAnnotatedAnswersAreNotLearned(t *testing.T) {
	var log lines
	n := 0
	shop := newShop(t, edge.Options{Logger: log.Logger()}, cache.Options{Rules: cache.Rules{PlanByURL: true, Plan: func(r *http.Request) cache.Plan {
		n++
		edge.Annotate(r.Context(), slog.Int("asked", n))
		return cache.Plan{}
	}}})
	c := testkit.Dial(t, shop.srv.Addr().String())
	defer c.Close()
	for range 6 {
		if _, err := io.WriteString(c, "GET /1000 HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, c)
	}
	waitFor(t, func() bool { return len(requests(log.all(t))) == 6 })
	for i, line := range requests(log.all(t)) {
		if line["asked"] != float64(i+1) {
			t.Errorf("request %d: %v", i+1, line)
		}
	}
}
