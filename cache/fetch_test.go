package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

func TestTrailers(t *testing.T) {
	for _, value := range []string{"no-store", "max-age=60"} {
		b := &backend{header: control(value), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Sum", "1")
			w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		}}
		_, h := open(t, Options{}, b)
		srv := httptest.NewServer(h)
		defer srv.Close()
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != "body" || res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("X-Late") != "2" {
			t.Errorf("%s: %q %v %v", value, body, res.Trailer, err)
		}
	}
}

func TestInterimResponses(t *testing.T) {
	b := &backend{header: http.Header{}, answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body")
	}}
	_, h := open(t, Options{}, b)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "arm=b") // for the answer, whatever is told before
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for want := range 2 {
		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") != "" && h.Get("Set-Cookie") == "" {
				hints++
			}
			return nil
		}})
		req, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if hints != 1-want || res.Header.Get("Link") != "" || res.Header.Get("Set-Cookie") != "arm=b" {
			t.Errorf("request %d: %d hints, %v", want+1, hints, res.Header)
		}
	}
}

// statuses remembers all that are written.
type statuses struct {
	*httptest.ResponseRecorder
	all []int
}

func (s *statuses) WriteHeader(status int) {
	s.all = append(s.all, status)
	s.ResponseRecorder.WriteHeader(status)
}

// What comes as interim after the answer is dropped: by then the leader's
// goroutine writes.
func TestInterimResponseThatIsLate(t *testing.T) {
	for _, value := range []string{"no-store", "max-age=60"} {
		b := &backend{header: control(value), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(200)
			w.WriteHeader(103)
			io.WriteString(w, "body")
		}}
		_, h := open(t, Options{}, b)
		w := &statuses{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
		if fmt.Sprint(w.all) != "[200]" || w.Body.String() != "body" {
			t.Errorf("%s: got %v %q", value, w.all, w.Body)
		}
	}
}

// A rule that panics ends the request and not the process, be it asked while the
// handler writes or once it has returned without a word.
func TestRuleThatPanics(t *testing.T) {
	for name, status := range map[string]int{"a header": 200, "not a word": 0} {
		t.Run(name, func(t *testing.T) {
			opts := Options{Logger: slog.New(slog.DiscardHandler)}
			opts.Rules.Retention = func(*http.Request, Head, Retention) Retention { panic("a bug") }
			_, h := open(t, opts, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if status != 0 {
					w.WriteHeader(status)
				}
			}))
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("got %v", v)
				}
			}()
			get(h, "http://a.example/")
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Hour):
			}
			fmt.Fprint(w, n)
		}}
		c, h := open(t, Options{}, b)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer func() { _ = recover() }()
			do(h, httptest.NewRequestWithContext(ctx, "GET", "http://a.example/", nil))
		}()
		synctest.Wait()
		cancel()
		synctest.Wait() // the fetch goes on
		ctx, cancel = context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait()
		begun := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(begun) != 0 {
			t.Errorf("Run ended after %v with %v", time.Since(begun), err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if w := get(h, "http://a.example/other"); !strings.Contains(w.Header().Get("Cache-Status"), "fwd=") {
			t.Errorf("after Close: %v", w.Header())
		}
	})
}

func TestFetchBudget(t *testing.T) {
	cases := map[string]struct{ terms, want time.Duration }{
		"by default":               {0, time.Minute},
		"a rule that is shorter":   {time.Second, time.Minute},
		"a rule that is longer":    {30 * time.Minute, 30 * time.Minute},
		"a rule that has no limit": {-1, time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
					<-r.Context().Done()
					transit.Fail(w, r, 504, context.Cause(r.Context()))
				}}
				_, h := open(t, Options{}, b)
				ctx, rec := transit.With(t.Context())
				rec.Terms.Header = c.terms
				begun := time.Now()
				w := do(h, httptest.NewRequestWithContext(ctx, "GET", "http://a.example/", nil))
				if w.Code != 504 || time.Since(begun) != c.want || !errors.Is(rec.Cause(), context.DeadlineExceeded) {
					t.Errorf("got %d after %v: %v", w.Code, time.Since(begun), rec.Cause())
				}
			})
		})
	}
}

// idle waits for the fetches that run now.
func (r *running) idle() {
	r.mu.Lock()
	var all []*task
	for f := range r.fetches {
		all = append(all, f)
	}
	r.mu.Unlock()
	for _, f := range all {
		<-f.done
	}
}

// cache-handler 44: a panic in a goroutine of the cache's own ends the process.
func TestAPanicInAFetch(t *testing.T) {
	var log bytes.Buffer
	b := &backend{answer: func(http.ResponseWriter, *http.Request, int) { panic("a bug") }}
	_, h := open(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, b)
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("recovered %v", v)
			}
		}()
		get(h, "http://a.example/")
	}()
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "fetch_test.go") {
		t.Errorf("the log does not say what panicked and where: %s", log.String())
	}
}

// chi 993: a router's context is pooled and used again after ServeHTTP.
func TestARoutersContextIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type pooled struct{}
		b := &backend{header: control("max-age=1, stale-while-revalidate=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			time.Sleep(time.Second)
			if r.Context().Value(pooled{}) != nil {
				t.Error("the fetch holds a value of the client's request")
			}
			if r.PathValue("id") != "7" {
				t.Errorf("the fetch lost the path value: %q", r.PathValue("id"))
			}
		}}
		_, h := open(t, Options{}, b)
		for range 2 {
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			r.SetPathValue("id", "7")
			do(h, r.WithContext(context.WithValue(r.Context(), pooled{}, 1)))
			r.SetPathValue("id", "8") // reused
			r.URL.Path = "/other"
			r.Header.Set("X", "1")
			time.Sleep(3 * time.Second)
		}
	})
}
