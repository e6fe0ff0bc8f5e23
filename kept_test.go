package foretier_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A keeper keeps what it is shown of the first request that it sees.
type keeper struct {
	mu   sync.Mutex
	r    *http.Request
	w    http.Header
	seen int // how many contexts there were
	ctx  context.Context
	line slog.Record
}

// request keeps r.
func (k *keeper) request(r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.r == nil && r.URL.Path == "/kept" {
		k.r, k.ctx = r, r.Context()
	}
}

// header keeps that of w.
func (k *keeper) header(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.w == nil && r.URL.Path == "/kept" {
		k.w = w.Header()
	}
}

// context keeps ctx, and line.
func (k *keeper) context(ctx context.Context, line slog.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen++; k.seen == 4 { // those before may be of new connections
		k.ctx, k.line = ctx, line
	}
}

// around keeps what next is asked, and with which writer.
func (k *keeper) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.request(r)
		k.header(w, r)
		next.ServeHTTP(w, r)
	})
}

// span keeps all that a span is shown.
func (k *keeper) span(a edge.Asked) edge.Span { return &keptSpan{k: k, asked: a} }

type keptSpan struct {
	k     *keeper
	asked edge.Asked
	below context.Context
}

func (s *keptSpan) Context(ctx context.Context) context.Context {
	s.below = context.WithValue(ctx, s.k, s)
	return s.below
}

func (s *keptSpan) Traceparent() (traceparent, tracestate string) { return s.asked.Traceparent, "" }

func (s *keptSpan) Try(string) (traceparent, tracestate string, end func(int, error)) {
	return "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "own=" + s.asked.Target, func(int, error) {}
}

func (s *keptSpan) End(attrs iter.Seq[slog.Attr]) {
	line := slog.Record{}
	line.AddAttrs(slog.String("asked", fmt.Sprint(s.asked.ID, s.asked.Host, s.asked.Target)))
	for a := range attrs {
		line.AddAttrs(a)
	}
	s.k.context(s.below, line)
}

// Enabled and Handle make it a slog.Handler that keeps its context and the first line.
func (k *keeper) Enabled(context.Context, slog.Level) bool { return true }
func (k *keeper) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *keeper) WithGroup(string) slog.Handler            { return k }
func (k *keeper) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "request" {
		k.context(ctx, line)
	}
	return nil
}

// tells is all that the keeper has, in words.
func (k *keeper) tells() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	headers := func(h http.Header) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			fmt.Fprintf(&b, "%s: %q\n", name, h[name])
		}
	}
	if k.r != nil {
		fmt.Fprintln(&b, k.r.PathValue("own"), chi.URLParamFromCtx(k.ctx, "*"), k.r.Method, k.r.URL, k.r.RequestURI, k.r.Host, k.r.Proto, k.r.RemoteAddr, k.r.Pattern, k.r.ContentLength)
		headers(k.r.Header)
	}
	headers(k.w)
	if k.ctx != nil {
		fmt.Fprintf(&b, "context of rule %q, %v, in a span: %t\n", router.RuleName(k.ctx), context.Cause(k.ctx), k.ctx.Value(k) != nil)
	}
	k.line.Attrs(func(a slog.Attr) bool {
		fmt.Fprintln(&b, a.Key, a.Value.Resolve())
		return true
	})
	return b.String()
}

// TestWhatIsKeptStaysAsItIs, whoever keeps it: what a request is made of serves another
// one only if it was in nobody's hands but the tier's own.
func TestWhatIsKeptStaysAsItIs(t *testing.T) {
	ways := map[string]func(k *keeper) way{
		"around the router": func(k *keeper) way { return way{front: k.around} },
		"in a rule's Use": func(k *keeper) way {
			return way{rule: router.Rule{Use: []func(http.Handler) http.Handler{k.around}}}
		},
		"around the pool": func(k *keeper) way { return way{next: k.around} },
		"behind a rule's path": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Path("/{own}")}, next: k.around}
		},
		"behind the rest of a path": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Path("/*"), MaxBody: 1 << 20}, next: k.around}
		},
		"in a matcher": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Test("keep", func(r *http.Request) bool { k.request(r); return true })}}
		},
		"in a matcher that says no": func(k *keeper) way {
			return way{rule: router.Rule{When: router.Test("keep", func(r *http.Request) bool { k.request(r); return false })}}
		},
		"in a limit": func(k *keeper) way {
			return way{rule: router.Rule{Limit: router.Limit{Rate: 1e6, Burst: 1e6, By: router.ByFunc("keep", func(r *http.Request) string { k.request(r); return "" })}}}
		},
		"in the pool's guard": func(k *keeper) way {
			return way{pool: balancer.Options{Refuse: router.Test("keep", func(r *http.Request) bool { k.request(r); return false })}}
		},
		"in the pool's policy": func(k *keeper) way {
			return way{pool: balancer.Options{Policy: balancer.Hash(func(r *http.Request) string { k.request(r); return "" }, 0)}}
		},
		"in the pool's trace": func(k *keeper) way {
			return way{pool: balancer.Options{Trace: &balancer.Trace{Tried: func(ctx context.Context, _ balancer.Attempt) { k.context(ctx, slog.Record{}) }}}}
		},
		"in a span":  func(k *keeper) way { return way{edge: edge.Options{Tracing: edge.Tracing{Spans: k.span}}} },
		"in the log": func(k *keeper) way { return way{edge: edge.Options{Logger: slog.New(k)}} },
	}
	for name, of := range ways {
		for how, asks := range map[string]func(t *testing.T, addr string) func(path string) (*http.Response, error){
			"GET over HTTP/1.1": func(t *testing.T, addr string) func(string) (*http.Response, error) {
				return asks1(t, addr, "GET", "")
			},
			"POST over HTTP/1.1": func(t *testing.T, addr string) func(string) (*http.Response, error) {
				return asks1(t, addr, "POST", strings.Repeat("a=1&", 2500))
			},
			"GET over HTTP/2": func(t *testing.T, addr string) func(string) (*http.Response, error) { return asks2(t, addr, "GET", "") },
			"POST over HTTP/2": func(t *testing.T, addr string) func(string) (*http.Response, error) {
				return asks2(t, addr, "POST", strings.Repeat("a=1&", 2500))
			},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				var k keeper
				y := of(&k)
				y.edge.PlainHTTP2 = true
				do := asks(t, y.run(t, page(t), page(t)))
				ask := func(path string) {
					res, err := do(path)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "Cookie: visitor="+path+"\r\n") {
						t.Fatalf("%s got %q, %v", path, body, err)
					}
				}
				for range 3 {
					ask("before")
				}
				ask("kept")
				ask("and") // with which the one before is over, over HTTP/1.1
				var kept string
				testkit.Within(t, testkit.Patience, "its context ends", func() bool {
					kept = k.tells()
					return !strings.Contains(kept, "<nil>, in a span: false")
				})
				if !strings.Contains(kept, "kept") && !strings.Contains(kept, "context") {
					t.Fatalf("nothing was kept: %s", kept)
				}
				for i := range 50 {
					ask(fmt.Sprint("another-", i))
				}
				if now := k.tells(); now != kept {
					t.Errorf("what was kept was\n%s\nand is\n%s", kept, now)
				}
			})
		}
	}
}

// asks1 asks by one connection of HTTP/1.1.
func asks1(t *testing.T, addr, method, body string) func(path string) (*http.Response, error) {
	c := testkit.Dial(t, addr)
	in := bufio.NewReader(c)
	return func(path string) (*http.Response, error) {
		fmt.Fprintf(c, "%s /%s HTTP/1.1\r\nHost: %s.example\r\nCookie: visitor=%s\r\nX-Own: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, path, path, path, len(body), body)
		return http.ReadResponse(in, nil)
	}
}

// asks2 asks by one connection of HTTP/2.
func asks2(t *testing.T, addr, method, body string) func(path string) (*http.Response, error) {
	client := &http.Client{Transport: &http.Transport{Protocols: http2()}}
	t.Cleanup(client.CloseIdleConnections)
	return func(path string) (*http.Response, error) {
		r, err := http.NewRequest(method, "http://"+addr+"/"+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Host = path + ".example"
		r.Header.Set("Cookie", "visitor="+path)
		r.Header.Set("X-Own", path)
		return client.Do(r)
	}
}
