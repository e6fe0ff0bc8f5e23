package foretier_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A traced request keeps what is told of it: a span that counts its attempts.
type tracedRequest struct {
	mu    sync.Mutex
	tries []string       // guarded by mu: backend, status and error, as they end
	begun int            // guarded by mu
	attrs map[string]any // guarded by mu
}

type tracedKey struct{}

const traceOfTests = "00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01"

func (s *tracedRequest) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, tracedKey{}, s)
}

func (s *tracedRequest) Traceparent() (traceparent, tracestate string) {
	return fmt.Sprintf(traceOfTests, 99), ""
}

func (s *tracedRequest) Try(backend string) (traceparent, tracestate string, end func(int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	return fmt.Sprintf(traceOfTests, s.begun), "t=" + backend, func(status int, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tries = append(s.tries, fmt.Sprint(backend, " ", status, " ", err != nil))
	}
}

func (s *tracedRequest) End(attrs iter.Seq[slog.Attr]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attrs = make(map[string]any)
	for a := range attrs {
		s.attrs[a.Key] = a.Value.Any()
	}
}

// TestATierTellsOfEachAttempt, by whatever way it goes: each backend is told of its own.
func TestATierTellsOfEachAttempt(t *testing.T) {
	var mu sync.Mutex
	var told []string
	hears := func(h http.Header) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, h.Get("Traceparent")+" "+h.Get("Tracestate"))
	}
	answers := func(w http.ResponseWriter, r *http.Request) {
		hears(r.Header)
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page")
	}
	plain := httptest.NewServer(http.HandlerFunc(answers))
	defer plain.Close()
	breaks := testkit.Backend(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		n, _ := c.Read(buf)
		h := make(http.Header)
		for line := range strings.Lines(string(buf[:n])) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				h.Set(name, value)
			}
		}
		hears(h)
	})
	inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Value(tracedKey{}).(*tracedRequest); !ok {
			t.Error("a handler in this process finds no span")
		}
		answers(w, r)
	})
	good := balancer.Backend{Name: "good", URL: plain.URL}
	bad := balancer.Backend{Name: "bad", URL: "http://" + breaks}
	for name, c := range map[string]struct {
		backends []balancer.Backend
		opts     balancer.Options
		upgrade  bool
	}{
		"the pool's own way":   {[]balancer.Backend{bad, good}, balancer.Options{}, false},
		"upgrades":             {[]balancer.Backend{bad, good}, balancer.Options{}, true},
		"a transport of yours": {[]balancer.Backend{bad, good}, balancer.Options{Transport: func(balancer.Backend) http.RoundTripper { return &http.Transport{DisableKeepAlives: true} }}, false},
		"in this process":      {[]balancer.Backend{bad, {Name: "good", Handler: inside}}, balancer.Options{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			told = nil
			c.opts.Policy, c.opts.Logger, c.opts.Name = balancer.First(), slog.New(slog.DiscardHandler), "apps"
			apps := must(balancer.New(c.backends, c.opts))
			defer apps.Close()
			pages := must(cache.New(cache.Options{Logger: slog.New(slog.DiscardHandler), FillFields: cache.BrowserFields()}))
			defer pages.Close()
			front := must(router.New(router.Options{}, router.Rule{Name: "shop", To: pages.Handler(apps)}))
			var all []*tracedRequest
			srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Tracing: edge.Tracing{
				Spans: func(edge.Asked) edge.Span {
					all = append(all, new(tracedRequest))
					return all[len(all)-1]
				}}}))
			defer srv.Close()
			get := func() map[string]any {
				r := httptest.NewRequest("GET", "http://shop.example/page", nil)
				if c.upgrade {
					r.Header.Set("Connection", "Upgrade")
					r.Header.Set("Upgrade", "websocket")
				}
				w := httptest.NewRecorder()
				srv.ServeHTTP(w, r)
				if w.Code != 200 || w.Body.String() != "page" {
					t.Errorf("got %d %q", w.Code, w.Body)
				}
				return all[len(all)-1].attrs
			}
			attrs := get()
			if want := []string{"bad 0 true", "good 200 false"}; !slices.Equal(all[0].tries, want) || all[0].begun != 2 {
				t.Errorf("attempts %q of %d, want %q", all[0].tries, all[0].begun, want)
			}
			if want := []string{fmt.Sprintf(traceOfTests, 1) + " t=bad", fmt.Sprintf(traceOfTests, 2) + " t=good"}; !slices.Equal(told, want) {
				t.Errorf("backends were told %q, want %q", told, want)
			}
			if got := fmt.Sprint(attrs["router"], " ", attrs["backend"], " ", attrs["attempts"], " ", attrs["status"]); got != "shop good 2 200" {
				t.Errorf("ended with %v", attrs)
			}
			if c.upgrade {
				return
			}
			if attrs := get(); attrs["cache"] != "hit" || attrs["attempts"] != nil || len(all[1].tries) != 0 {
				t.Errorf("a hit ended with %v", attrs)
			}
		})
	}
}
