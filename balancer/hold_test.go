package balancer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

// TestAServerThatDiesMidPageIsNotNoticed, where the page may be asked for again.
func TestAServerThatDiesMidPageIsNotNoticed(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
	half := strings.Repeat("x", 20000)
	answers := map[string]string{
		"no byte of a page":  head + "Content-Length: 100\r\n\r\n",
		"a few":              head + "Content-Length: 100\r\n\r\nhalf",
		"many":               head + "Content-Length: 40000\r\n\r\n" + half,
		"in a chunk":         head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo",
		"between two chunks": head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"a redirect":         "HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: a=b\r\nContent-Length: 100\r\n\r\nhalf",
		"an error":           "HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf",
	}
	cases := map[string]struct {
		method string
		retry  transit.Retry
		want   int
	}{
		"GET":                         {"GET", transit.RetryDefault, 200},
		"GET that is never repeated":  {"GET", transit.RetryNever, 502},
		"POST":                        {"POST", transit.RetryDefault, 502},
		"POST that may be repeated":   {"POST", transit.RetryReplayable, 200},
		"POST with Idempotency-Key":   {"POST key", transit.RetryDefault, 200},
		"PUT that is never repeated ": {"PUT key", transit.RetryNever, 502},
	}
	for what, answer := range answers {
		for name, c := range cases {
			t.Run(what+", "+name, func(t *testing.T) {
				bad, asked := testkit.HTTPBackend(t, testkit.Says(answer))
				good := httptest.NewServer(servedBy("good"))
				defer good.Close()
				p := newPool(t, []Backend{{Name: "bad", URL: bad}, {Name: "good", URL: good.URL, Tier: 1}}, Options{})
				p.depot.hold = patience // on a busy machine what is written at once comes late
				front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, rec := transit.With(r.Context())
					rec.Terms.Retry = c.retry
					p.ServeHTTP(w, r.WithContext(ctx))
				}))
				defer front.Close()
				method, key, _ := strings.Cut(c.method, " ")
				r, err := http.NewRequest(method, front.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				if method != "GET" {
					r, _ = http.NewRequest(method, front.URL, strings.NewReader("an order"))
				}
				if key != "" {
					r.Header.Set("Idempotency-Key", "1")
				}
				res, err := front.Client().Transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if res.StatusCode != c.want || err != nil || c.want == 200 && string(body) != "good" {
					t.Errorf("got %d %.40q, %v, want %d", res.StatusCode, body, err, c.want)
				}
				if res.Header.Get("Set-Cookie") != "" {
					t.Error("a cookie of the answer that broke off")
				}
				if asked.Load() != 1 {
					t.Errorf("asked %d times", asked.Load())
				}
				res.Body.Close()
				// The answer is out before its exchange is over.
				testkit.Within(t, patience, "nothing is held and no request in flight", func() bool {
					return p.depot.answers.Held() == 0 && p.inflight.Load() == 0
				})
			})
		}
	}
}

// TestWhatIsHeldBack: a page until it is whole, 64 KiB are there, or 10 ms are
// over, and what must not wait not at all.
func TestWhatIsHeldBack(t *testing.T) {
	errBroke := errors.New("broke off")
	cases := []struct {
		name   string
		header http.Header
		size   int           // bytes before the break
		after  time.Duration // when it breaks
		passes bool          // the client sees the beginning
	}{
		{"a break at once", nil, 1000, 0, false},
		{"a break in time", nil, 1000, 9 * time.Millisecond, false},
		{"a break later", nil, 1000, 11 * time.Millisecond, true},
		{"almost enough", nil, 63 << 10, 9 * time.Millisecond, false},
		{"enough", nil, 100 << 10, 0, true},
		{"events", http.Header{"Content-Type": {"text/event-stream"}}, 1000, time.Millisecond, true},
		{"gRPC", http.Header{"Content-Type": {"application/grpc"}}, 1000, time.Millisecond, true},
		{"not to be buffered", http.Header{"X-Accel-Buffering": {"no"}}, 1000, time.Millisecond, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				way := roundTrip(func(r *http.Request) (*http.Response, error) {
					pr, pw := io.Pipe()
					go func() {
						_, _ = pw.Write(make([]byte, c.size))
						time.Sleep(c.after)
						_ = pw.CloseWithError(errBroke)
					}()
					res := &http.Response{StatusCode: 200, Header: c.header.Clone(), ContentLength: -1, TransferEncoding: []string{"chunked"}, ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: pr}
					if res.Header == nil {
						res.Header = make(http.Header)
					}
					return res, nil
				})
				backends, ways := ways(way)
				p := newPool(t, backends, Options{Transport: ways})
				res, err := p.RoundTrip(httptest.NewRequest("GET", "/", nil))
				if c.passes != (err == nil) {
					t.Fatalf("got %v", err)
				}
				if err == nil {
					if n, err := io.Copy(io.Discard, res.Body); n != int64(c.size) || !errors.Is(err, errBroke) {
						t.Errorf("read %d bytes, %v", n, err)
					}
					res.Body.Close()
				} else if !errors.Is(err, errBroke) {
					t.Errorf("the cause is lost: %v", err)
				}
				if n := p.Backends()[0].Failures; n != 1 {
					t.Errorf("%d failures, want 1", n)
				}
				synctest.Wait()
				if p.depot.answers.Held() != 0 || p.inflight.Load() != 0 {
					t.Errorf("afterwards %d bytes are held, %d requests in flight", p.depot.answers.Held(), p.inflight.Load())
				}
			})
		})
	}
}

// TestAServerThatBreaksOffIsTakenOut although its headers come.
func TestAServerThatBreaksOffIsTakenOut(t *testing.T) {
	url, _ := testkit.HTTPBackend(t, testkit.Says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
	good := httptest.NewServer(servedBy("good"))
	defer good.Close()
	p := newPool(t, []Backend{{Name: "bad", URL: url}, {Name: "good", URL: good.URL}}, Options{Policy: RoundRobin(), Retries: Retries{Min: 1000}})
	p.depot.hold = patience // on a busy machine what is written at once comes late
	for i := range 10 {
		client := func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i) } // one alone condemns nobody
		if w := get(p, "GET", fmt.Sprint("/", i), nil, client); w.Body.String() != "good" {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
	if s := p.Backends()[0]; s.State != health.Degraded {
		t.Errorf("after %d failures it is %v", s.Failures, s.State)
	}
}

// TestNoContentTypeIsMadeUp where the backend sent none: a page of somebody's
// text would run as a program.
func TestNoContentTypeIsMadeUp(t *testing.T) {
	for name, head := range map[string]string{
		"a page":            "HTTP/1.1 200 OK\r\n",
		"one with hints":    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n",
		"an error":          "HTTP/1.1 404 Not Found\r\n",
		"one not to sniff":  "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n",
		"an empty type":     "HTTP/1.1 200 OK\r\nContent-Type: \r\n",
		"a type of its own": "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\n",
	} {
		for _, framing := range []string{"Connection: close\r\nContent-Length: 14\r\n\r\n<script>alert(", "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n<script>alert(\r\n0\r\n\r\n"} {
			url, _ := testkit.HTTPBackend(t, testkit.Says(head+framing))
			for proto, front := range bothFronts(t, newPool(t, Backends(url), Options{})) {
				for _, method := range []string{"GET", "POST"} {
					r, _ := http.NewRequest(method, front.URL, strings.NewReader("a body"))
					res, err := front.Client().Do(r)
					if err != nil {
						t.Fatal(err)
					}
					res.Body.Close()
					want := ""
					if strings.Contains(head, "text/css") {
						want = "text/css"
					}
					if got := res.Header.Get("Content-Type"); got != want {
						t.Errorf("%s over %s, %s: Content-Type %q", name, proto, method, got)
					}
				}
			}
		}
	}
	// A handler in this process and the pool's own answers have one.
	p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }), Options{})
	if got := get(p, "GET", "/", nil).Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("a handler in this process: %q", got)
	}
	if got := get(newPool(t, nil, Options{}), "GET", "/", nil).Header().Get("Content-Type"); got == "" {
		t.Error("the pool's own answer has none")
	}
}

// bothFronts serves h over HTTP/1.1 and HTTP/2.
func bothFronts(t *testing.T, h http.Handler) map[string]*httptest.Server {
	h1 := httptest.NewServer(h)
	t.Cleanup(h1.Close)
	h2 := httptest.NewUnstartedServer(h)
	h2.EnableHTTP2 = true
	h2.StartTLS()
	t.Cleanup(h2.Close)
	return map[string]*httptest.Server{"HTTP/1.1": h1, "HTTP/2": h2}
}
