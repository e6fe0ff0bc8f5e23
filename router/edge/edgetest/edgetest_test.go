package edgetest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/edgetest"
)

// said answers with what it has been told.
func said(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s for %s over %s: %s", r.Method, r.RequestURI, edge.Client(r), r.Proto, body)
}

func read(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log edgetest.Log
		tier := edgetest.Serve(t, http.HandlerFunc(said), edge.Options{Logger: log.Logger(), Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		visitor := tier.Client("203.0.113.9")
		res, err := visitor.Post("http://shop.example/cart", "text/plain", strings.NewReader("qty=1"))
		if got, want := read(t, res, err), "POST /cart for 203.0.113.9 over HTTP/1.1: qty=1"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r := httptest.NewRequest("PURGE", "/a%2Fb?c", nil)
		r.RemoteAddr = "10.0.0.7:99"
		r.Header.Set("X-Forwarded-For", "2001:db8::1")
		w := httptest.NewRecorder()
		tier.ServeHTTP(w, r)
		if got, want := w.Body.String(), "PURGE /a%2Fb?c for 2001:db8::1 over HTTP/1.1: "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if d := tier.Explain(r); d.Verdict != "called" {
			t.Errorf("explained: %s", d)
		}
		if n := len(log.Lines("msg=request", "status=200")); n != 2 || len(log.Lines()) <= n {
			t.Errorf("%d lines of requests in %q", n, log.Lines())
		}
		time.Sleep(24 * time.Hour) // of the bubble's
		if got := read(t, must(t)(visitor.Get("http://shop.example/")), nil); !strings.HasPrefix(got, "GET / for 203.0.113.9") {
			t.Errorf("a day later: %q", got)
		}
	})
}

func must(t *testing.T) func(*http.Response, error) *http.Response {
	return func(res *http.Response, err error) *http.Response {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
}

func TestOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := edgetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("seen"); err == nil {
				fmt.Fprintf(w, "%s %s", c.Value, r.TLS.ServerName)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes", Secure: true})
			http.Redirect(w, r, "/again", http.StatusFound)
		}), edge.Options{TLS: edgetest.TLS(t, "shop.example")})
		visitor := tier.Client("203.0.113.9")
		res, err := visitor.Get("https://shop.example/")
		read(t, res, err)
		if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/again" {
			t.Errorf("the redirect was followed: %v", res)
		}
		res, err = visitor.Get("https://shop.example/again")
		if got := read(t, res, err); got != "yes shop.example" {
			t.Errorf("got %q", got)
		}
		r := httptest.NewRequest("GET", "https://shop.example/", nil)
		w := httptest.NewRecorder()
		if tier.ServeHTTP(w, r); w.Code != http.StatusFound {
			t.Errorf("got %d", w.Code)
		}
	})
}

// What a client that speaks for itself can do: half a request, for which the edge waits
// as long as its limits say.
func TestAClientThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := edgetest.Serve(t, http.HandlerFunc(said), edge.Options{})
		c, err := tier.Dial("203.0.113.9")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if took := time.Since(began); err != nil || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it was ended after %s with %q, %v", took, all, err)
		}
		if _, err := tier.Dial("office"); err == nil {
			t.Error("it was dialed from nowhere")
		}
	})
}

// A drain takes its time, and ends what does not end.
func TestADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(20 * time.Second) // of the bubble's
			said(w, r)
		})
		tier := edgetest.Serve(t, slow, edge.Options{})
		began := time.Now()
		stopped := make(chan error, 1)
		go func() {
			time.Sleep(time.Second) // of the bubble's: the request is under way
			stopped <- tier.Stop()
		}()
		first := must(t)(tier.Client("203.0.113.9").Get("http://shop.example/first"))
		if got := read(t, first, nil); !strings.HasPrefix(got, "GET /first") {
			t.Errorf("got %q", got)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("it took %s", took)
		}
		if _, err := tier.Client("203.0.113.9").Get("http://shop.example/"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// What breaks off is told as handlers tell it.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := edgetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), edge.Options{})
		for name, r := range map[string]*http.Request{
			"half a body":           httptest.NewRequest("GET", "/", nil),
			"TLS, which is not had": httptest.NewRequest("GET", "https://shop.example/", nil),
			"from nowhere":          {RemoteAddr: "@", Method: "GET", RequestURI: "/"},
		} {
			func() {
				defer func() {
					if v := recover(); v != http.ErrAbortHandler {
						t.Errorf("%s: %v", name, v)
					}
				}()
				tier.ServeHTTP(httptest.NewRecorder(), r)
			}()
		}
	})
}

// Whoever takes nothing of a body is answered all the same.
func TestAnAnswerBeforeTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := edgetest.Serve(t, http.NotFoundHandler(), edge.Options{})
		w := httptest.NewRecorder()
		tier.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 1<<20))))
		if w.Code != http.StatusNotFound {
			t.Errorf("got %d", w.Code)
		}
	})
}

// A spy is a testing.TB that remembers what failed, and whose end is called by hand.
type spy struct {
	testing.TB
	failed []string
	ends   []func()
}

func (s *spy) Helper()          {}
func (s *spy) Cleanup(f func()) { s.ends = append(s.ends, f) }
func (s *spy) Errorf(format string, args ...any) {
	s.failed = append(s.failed, fmt.Sprintf(format, args...))
}

func TestWhatEndsBadlyFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spy{TB: t}
		l := edgetest.Listen()
		edgetest.Run(s, l, nil, func(ctx context.Context) error {
			<-ctx.Done()
			return os.ErrDeadlineExceeded
		})
		for _, end := range s.ends {
			end()
		}
		if len(s.failed) != 1 || !strings.Contains(s.failed[0], "has not ended well") {
			t.Errorf("%q", s.failed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", "http://shop.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Client("203.0.113.9").Do(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("where nobody accepts: %v", err)
		}
		l.Close() // so that the client gives up
	})
}

// Two requests go over one connection, as those of a browser do.
func TestConnectionsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := edgetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }), edge.Options{})
		visitor := tier.Client("203.0.113.9")
		first := read(t, must(t)(visitor.Get("http://shop.example/")), nil)
		second := read(t, must(t)(visitor.Get("http://www.shop.example/")), nil)
		again := read(t, must(t)(visitor.Get("http://shop.example/")), nil)
		if first != again || first == second {
			t.Errorf("got %s, %s and %s", first, second, again)
		}
		c, err := tier.Dial("203.0.113.9:4711")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if got := read(t, res, err); got != "203.0.113.9:4711" || c.LocalAddr().String() != got {
			t.Errorf("got %s", got)
		}
	})
}
