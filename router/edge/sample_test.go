package edge_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestSampleHits: of hits some have a line, which says so; of all else each has one.
func TestSampleHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages, err := cache.New(cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer pages.Close()
		stored := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			if r.URL.Path == "/gone" {
				w.WriteHeader(http.StatusGone)
			}
			io.WriteString(w, "page")
		}))
		h := http.NewServeMux()
		h.Handle("/page", stored)
		h.Handle("/gone", stored)
		h.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			transit.From(r.Context()).Hit = true
			time.Sleep(time.Second)
		})
		h.HandleFunc("/fails", func(w http.ResponseWriter, r *http.Request) {
			transit.From(r.Context()).Hit = true
			transit.Fail(w, r, 304, errors.New("broken"))
		})
		h.HandleFunc("/asked", func(w http.ResponseWriter, r *http.Request) {})
		const n, asked = 50, 2000
		for name, make := range map[string]func(io.Writer) slog.Handler{
			"the tier's handler": func(w io.Writer) slog.Handler { return edge.NewLogHandler(w, edge.LogOptions{JSON: true}) },
			"slog's":             func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		} {
			var log lines
			srv, err := edge.New(h, edge.Options{NoPort: true, SampleHits: n, Logger: slog.New(make(&log))})
			if err != nil {
				t.Fatal(err)
			}
			get := func(path string) { srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)) }
			get("/page")
			get("/gone")
			before := len(requests(log.all(t)))
			for range asked {
				get("/page")
			}
			hits := requests(log.all(t))[before:]
			if len(hits) < asked/n/4 || len(hits) > asked/n*4 {
				t.Errorf("%s: %d lines of %d hits, want about one of %d", name, len(hits), asked, n)
			}
			for _, line := range hits {
				if line["sampled"] != float64(n) {
					t.Errorf("%s: %v", name, line)
				}
			}
			before = len(requests(log.all(t)))
			others := []string{"/gone", "/slow", "/fails", "/asked"}
			for _, path := range others {
				for range 5 {
					get(path)
				}
			}
			all := requests(log.all(t))[before:]
			if len(all) != 5*len(others) {
				t.Errorf("%s: %d lines of %d", name, len(all), 5*len(others))
			}
			for _, line := range all {
				if line["sampled"] != nil {
					t.Errorf("%s: it stands for itself: %v", name, line)
				}
			}
		}
	})
	if _, err := edge.New(http.NotFoundHandler(), edge.Options{NoPort: true, SampleHits: 2, Combined: io.Discard}); err == nil {
		t.Error("no error beside Combined, whose lines cannot say it")
	}
}

// TestSampleInstantHits: those from the head, too.
func TestSampleInstantHits(t *testing.T) {
	var log lines
	shop := newShop(t, edge.Options{SampleHits: 40, Logger: slog.New(edge.NewLogHandler(&log, edge.LogOptions{JSON: true}))}, cache.Options{})
	c := testkit.Dial(t, shop.srv.Addr().String())
	defer c.Close()
	const asked = 1000
	for range asked {
		fmt.Fprint(c, "GET /1000 HTTP/1.1\r\nHost: a\r\n\r\n")
		readAnswer(t, c)
	}
	n := 0
	for _, line := range requests(log.all(t)) {
		if line["sampled"] == 40.0 {
			n++
		}
	}
	if shop.instant() < asked/2 || n < asked/40/5 || n > asked/40*4 {
		t.Errorf("%d answers from heads, %d lines of one of 40", shop.instant(), n)
	}
}

// TestAHitThatWasNotEnoughIsNone: who is answered by a fallback's second handler has had a
// backend asked.
func TestAHitThatWasNotEnoughIsNone(t *testing.T) {
	pages, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	gone := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.WriteHeader(http.StatusNotFound)
	}))
	origin, err := balancer.New([]balancer.Backend{{Name: "web0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })}}, balancer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	var log lines
	srv, err := edge.New(router.Fallback(gone, origin), edge.Options{NoPort: true, SampleHits: 1 << 30, Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest("GET", "/media/1", nil))
		if w.Code != 200 {
			t.Errorf("got %d", w.Code)
		}
	}
	if n := len(requests(log.all(t))); n != 3 {
		t.Errorf("%d lines of 3: %s", n, log.String())
	}
}
