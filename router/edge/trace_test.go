package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

const (
	brought = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	spanned = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// TestTraceContext: whose traceparent goes on, and where one is begun.
func TestTraceContext(t *testing.T) {
	begun := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`)
	type sent struct{ parents, states []string }
	for name, c := range map[string]struct {
		tracing edge.Tracing
		trusted []netip.Prefix
		came    sent
		want    sent // "begun": one that is
		logged  string
	}{
		"nothing is looked at":            {edge.Tracing{}, nil, sent{[]string{"any", "thing"}, []string{"a", "b"}}, sent{[]string{"any", "thing"}, []string{"a", "b"}}, ""},
		"nor made":                        {edge.Tracing{}, loopback, sent{}, sent{}, ""},
		"who counts without Begin":        {edge.Tracing{Anybody: true}, nil, sent{}, sent{}, ""},
		"begun":                           {edge.Tracing{Begin: true}, nil, sent{}, sent{[]string{"begun"}, nil}, "begun"},
		"a stranger's":                    {edge.Tracing{Begin: true}, nil, sent{[]string{brought}, []string{"a=1"}}, sent{[]string{"begun"}, nil}, "begun"},
		"a proxy's":                       {edge.Tracing{Begin: true}, loopback, sent{[]string{brought}, []string{"a=1", "b=2"}}, sent{[]string{brought}, []string{"a=1", "b=2"}}, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"a browser's, which counts":       {edge.Tracing{Begin: true, Anybody: true}, nil, sent{[]string{brought}, nil}, sent{[]string{brought}, nil}, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"a proxy's that is none":          {edge.Tracing{Begin: true}, loopback, sent{[]string{"00-4BF9-1-01"}, []string{"a=1"}}, sent{[]string{"begun"}, nil}, "begun"},
		"two":                             {edge.Tracing{Begin: true}, loopback, sent{[]string{brought, spanned}, []string{"a=1"}}, sent{[]string{"begun"}, nil}, "begun"},
		"a state of nothing":              {edge.Tracing{Begin: true}, loopback, sent{nil, []string{"a=1"}}, sent{[]string{"begun"}, nil}, "begun"},
		"a span's":                        {edge.Tracing{Spans: new(spans).begin}, loopback, sent{[]string{brought}, []string{"a=1"}}, sent{[]string{spanned}, []string{"o=1"}}, "0af7651916cd43dd8448eb211c80319c"},
		"a span of nothing":               {edge.Tracing{Spans: (&spans{mute: true}).begin}, loopback, sent{[]string{brought}, []string{"a=1"}}, sent{[]string{brought}, []string{"a=1"}}, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"no span":                         {edge.Tracing{Spans: func(edge.Asked) edge.Span { return nil }}, loopback, sent{[]string{brought}, nil}, sent{[]string{brought}, nil}, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"no span, of what brings nothing": {edge.Tracing{Spans: func(edge.Asked) edge.Span { return nil }}, nil, sent{[]string{brought}, nil}, sent{[]string{"begun"}, nil}, "begun"},
	} {
		t.Run(name, func(t *testing.T) {
			var told sent
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				told = sent{r.Header["Traceparent"], r.Header["Tracestate"]}
			})
			var log lines
			n := 0
			overEach(t, h, edge.Options{Tracing: c.tracing, Trusted: c.trusted, Logger: log.Logger()}, func(t *testing.T, url string, client *http.Client) {
				r, err := http.NewRequest("GET", url, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header["Traceparent"], r.Header["Tracestate"] = c.came.parents, c.came.states
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				parents := slices.Clone(told.parents)
				if len(c.want.parents) == 1 && c.want.parents[0] == "begun" && len(parents) == 1 && begun.MatchString(parents[0]) && parents[0] != brought {
					parents[0] = "begun"
				}
				if !slices.Equal(parents, c.want.parents) || !slices.Equal(told.states, c.want.states) {
					t.Errorf("the handler gets %v, want %v", told, c.want)
				}
				n++
				waitFor(t, func() bool { return len(requests(log.all(t))) == n })
				logged, _ := requests(log.all(t))[n-1]["trace"].(string)
				want := c.logged
				if want == "begun" && len(told.parents) == 1 {
					want = told.parents[0][3:35]
				}
				if logged != want {
					t.Errorf("logged as %q, want %q", logged, want)
				}
			})
		})
	}
}

// spans keeps those that were begun.
type spans struct {
	mute bool // they make no traceparent

	mu  sync.Mutex
	all []*span // guarded by mu
}

func (s *spans) begin(a edge.Asked) edge.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &span{asked: a, of: s}
	s.all = append(s.all, one)
	return one
}

// ended waits for n that have, and returns them.
func (s *spans) ended(t *testing.T, n int) []*span {
	t.Helper()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		done := 0
		for _, one := range s.all {
			if one.attrs != nil {
				done++
			}
		}
		return done >= n
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

type span struct {
	asked edge.Asked
	of    *spans
	attrs map[string]any // guarded by of.mu
}

type spanKey struct{}

func (s *span) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, s)
}

func (s *span) Traceparent() (traceparent, tracestate string) {
	if s.of.mute {
		return "", ""
	}
	return spanned, "o=1"
}

func (s *span) Try(string) (traceparent, tracestate string, end func(int, error)) {
	return "", "", func(int, error) {}
}

func (s *span) End(attrs iter.Seq[slog.Attr]) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.attrs != nil {
		panic("ended twice")
	}
	s.attrs = make(map[string]any)
	for a := range attrs {
		s.attrs[a.Key] = a.Value.Any()
	}
}

// TestSpans: whatever becomes of a request, its span ends once, with what its line says.
func TestSpans(t *testing.T) {
	h := http.NewServeMux()
	h.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(spanKey{}) == nil {
			t.Error("the handler finds no span")
		}
		transit.From(r.Context()).Note("router", note("shop"))
		edge.Annotate(r.Context(), slog.Int("queries", 3))
		io.WriteString(w, "page")
	})
	h.HandleFunc("/fails", func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 502, errors.New("refused")) })
	h.HandleFunc("/panics", func(w http.ResponseWriter, r *http.Request) { panic("a bug") })
	h.HandleFunc("/breaks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, strings.Repeat("x", 50_000))
		panic(http.ErrAbortHandler)
	})
	for name, quiet := range map[string]bool{"logged": false, "not logged": true} {
		t.Run(name, func(t *testing.T) {
			var all spans
			opts := edge.Options{Tracing: edge.Tracing{Spans: all.begin}, NoAccessLog: quiet, AnonymousLog: true, Logger: new(lines).Logger()}
			n := 0
			overEach(t, h, opts, func(t *testing.T, url string, c *http.Client) {
				for path, status := range map[string]int64{"/page?a=b": 200, "/fails": 502, "/panics": 500, "/breaks": 200, "/not-there": 404} {
					res, err := c.Get(url + path)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					n++
					got := all.ended(t, n)[n-1]
					if got.asked.Target != path || got.asked.Client.String() != "127.0.0.0" || got.asked.ID != res.Header.Get("X-Request-Id") || got.asked.Method != "GET" || got.asked.Came.IsZero() {
						t.Errorf("%s: begun of %+v", path, got.asked)
					}
					if got.attrs["status"] != status || got.attrs["id"] != got.asked.ID || got.attrs["client"] != "127.0.0.0" {
						t.Errorf("%s: ended with %v", path, got.attrs)
					}
					switch {
					case status == 502 && got.attrs["cause"] != "refused",
						strings.HasPrefix(path, "/page") && fmt.Sprint(got.attrs["router"], " ", got.attrs["queries"]) != "shop 3",
						path == "/breaks" && got.attrs["aborted"] != true:
						t.Errorf("%s: ended with %v", path, got.attrs)
					}
				}
			})
		})
	}
}

// TestSpansContextEnds: whoever waits for the end of a request that has a span does so as of
// any other.
func TestSpansContextEnds(t *testing.T) {
	var all spans
	came, ended := make(chan bool, 1), make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e, ok := r.Context().(http1.Ending)
		came <- ok && r.Context().Value(spanKey{}) != nil && e.OnEnd(func() { close(ended) }) && !e.OnEnd(func() {})
		<-r.Context().Done()
	})
	srv := serve(t, h, edge.Options{Tracing: edge.Tracing{Spans: all.begin}, NoAccessLog: true})
	c := testkit.Dial(t, srv.Addr().String())
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if !<-came {
		t.Error("nobody can wait for its end without a context that ends")
	}
	c.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second): // the sweep comes within one
		t.Error("the client has left, and nobody was told")
	}
}

// A skimmed span asks for so many of its attributes.
type skimmed struct {
	most int
	got  chan int
}

func (s skimmed) begin(edge.Asked) edge.Span                             { return s }
func (skimmed) Context(ctx context.Context) context.Context              { return ctx }
func (skimmed) Traceparent() (traceparent, tracestate string)            { return "", "" }
func (skimmed) Try(string) (string, string, func(status int, err error)) { return "", "", nil }
func (s skimmed) End(attrs iter.Seq[slog.Attr]) {
	n := 0
	if s.most > 0 {
		for range attrs {
			if n++; n == s.most {
				break
			}
		}
	}
	s.got <- n
}

// A costly value counts how often it is asked for.
type costly struct{ asked *atomic.Int32 }

func (c costly) LogValue() slog.Value { return slog.IntValue(int(c.asked.Add(1))) }

// TestSpanMakesWhatIsAsked: attributes that a span does not range over are not made.
func TestSpanMakesWhatIsAsked(t *testing.T) {
	var asked atomic.Int32
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		transit.From(r.Context()).Note("router", costly{&asked})
	})
	for most, made := range map[int]int32{0: 0, 3: 0, 1000: 1} {
		s := skimmed{most, make(chan int, 100)}
		overEach(t, h, edge.Options{Tracing: edge.Tracing{Spans: s.begin}, NoAccessLog: true, Logger: new(lines).Logger()}, func(t *testing.T, url string, c *http.Client) {
			asked.Store(0)
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := <-s.got; asked.Load() != made || most < 1000 && got != most {
				t.Errorf("of %d attributes that were asked for %d came, and the value was made %d times, want %d", most, got, asked.Load(), made)
			}
		})
	}
}

// TestInstantSpans: what is answered from its head has one, too.
func TestInstantSpans(t *testing.T) {
	for _, path := range []string{"/1000", "/300000"} { // the second goes out in several writes
		var all spans
		shop := newShop(t, edge.Options{Tracing: edge.Tracing{Spans: all.begin}, Trusted: loopback, NoAccessLog: true}, cache.Options{})
		c := testkit.Dial(t, shop.srv.Addr().String())
		defer c.Close()
		n := 0
		for shop.instant() < 2 {
			if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\nTraceparent: "+brought+"\r\nTracestate: a=1\r\nX-Request-Id: one\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			readAnswer(t, c)
			if n++; n > 10 {
				t.Fatal("no answer from the head")
			}
		}
		got := all.ended(t, n)[n-1]
		if a := got.asked; a.Traceparent != brought || a.Tracestate != "a=1" || a.ID != "one" || a.Client.String() != "192.0.2.1" || a.Target != path || a.Host != "a" || a.Proto != "HTTP/1.1" || a.Scheme != "http" {
			t.Errorf("begun of %+v", a)
		}
		want := fmt.Sprint("200 shop hit ", spanned[3:35])
		if a := got.attrs; fmt.Sprint(a["status"], " ", a["router"], " ", a["cache"], " ", a["trace"]) != want {
			t.Errorf("ended with %v, want %s", a, want)
		}
	}
}
