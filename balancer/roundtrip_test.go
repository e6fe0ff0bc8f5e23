package balancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// ways returns backends a, b ... and the option that makes these their ways.
func ways(rts ...http.RoundTripper) ([]Backend, func(Backend) http.RoundTripper) {
	var out []Backend
	for i := range rts {
		out = append(out, Backend{Name: string(rune('a' + i)), URL: fmt.Sprintf("http://%c", 'a'+i)})
	}
	return out, func(b Backend) http.RoundTripper { return rts[b.Name[0]-'a'] }
}

// status is a way to a backend that answers with one status.
func status(code int) http.RoundTripper {
	return inprocess.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
	})}
}

// reset is a way to a backend that takes the request and hangs up.
var reset = inprocess.Transport{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(syscall.ECONNRESET) })}

// terms sets what a rule would ask.
func terms(t transit.Terms) func(*http.Request) {
	return func(r *http.Request) {
		ctx, rec := transit.With(r.Context())
		rec.Terms = t
		*r = *r.WithContext(ctx)
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestRetry(t *testing.T) {
	never, replayable := terms(transit.Terms{Retry: transit.RetryNever}), terms(transit.Terms{Retry: transit.RetryReplayable})
	key := header("Idempotency-Key", "1")
	cases := []struct {
		name   string
		first  http.RoundTripper
		method string
		edit   func(*http.Request)
		want   int // 200: tried elsewhere
	}{
		{"not sent: GET", refused, "GET", nil, 200},
		{"not sent: POST", refused, "POST", nil, 200},
		{"not sent: POST, never", refused, "POST", never, 200},
		{"reset: GET", reset, "GET", nil, 200},
		{"reset: OPTIONS", reset, "OPTIONS", nil, 200},
		{"reset: POST", reset, "POST", nil, 502},
		{"reset: DELETE", reset, "DELETE", nil, 502},
		{"reset: POST with a key", reset, "POST", key, 200},
		{"reset: POST, replayable", reset, "POST", replayable, 200},
		{"reset: GET, never", reset, "GET", never, 502},
		{"502: GET", status(502), "GET", nil, 200},
		{"503: HEAD", status(503), "HEAD", nil, 200},
		{"503: POST", status(503), "POST", nil, 503},
		{"503: POST with a key", status(503), "POST", key, 200},
		{"503: GET, never", status(503), "GET", never, 503},
		{"500: GET", status(500), "GET", nil, 200},
		{"500: GET with a cookie", status(500), "GET", header("Cookie", "a=b"), 500},
		{"500: GET with Authorization", status(500), "GET", header("Authorization", "Basic x"), 500},
		{"500: OPTIONS", status(500), "OPTIONS", nil, 500},
		{"500: POST with a key", status(500), "POST", key, 500},
		{"500: POST, replayable", status(500), "POST", replayable, 200},
		{"504: GET", status(504), "GET", nil, 504},
		{"501: GET", status(501), "GET", nil, 501},
		{"404: GET", status(404), "GET", nil, 404},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			backends, way := ways(c.first, inprocess.Transport{Handler: servedBy("b")})
			p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
			edit := c.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			var body io.Reader
			if c.method == "POST" {
				body = strings.NewReader("order=1")
			}
			if got := get(p, c.method, "/", body, edit); got.Code != c.want {
				t.Errorf("got %d, want %d", got.Code, c.want)
			}
			if n := p.inflight.Load(); n != 0 {
				t.Errorf("left in hand: %d requests", n)
			}
			for _, s := range p.Backends() {
				if s.InFlight != 0 || s.Waiting != 0 {
					t.Errorf("%s is left with %d in hand, %d waiting", s.Name, s.InFlight, s.Waiting)
				}
			}
		})
	}
}

func TestRetryBudget(t *testing.T) {
	var b budget
	r := Retries{Budget: 0.2, Min: 3}
	now := time.Unix(1000, 0)
	spend := func(n int) (got int) {
		for range n {
			if b.spend(now, r) {
				got++
			}
		}
		return got
	}
	for i := range 1000 {
		b.requests.add(now.Unix() - int64(i%10))
	}
	if got := spend(500); got != 230 {
		t.Errorf("of a thousand requests in ten seconds %d may be repeated, want 200 and 30", got)
	}
	now = now.Add(10 * time.Second) // nothing came since
	if got := spend(500); got != 30 {
		t.Errorf("without requests %d, want 30", got)
	}
	if r.Budget = -1; spend(500) != 500 {
		t.Error("no limit is one")
	}
}

func TestOneCrashCutsOffNobody(t *testing.T) {
	const clients = 30
	arrived := make(chan bool, clients)
	crash := make(chan bool)
	backends, way := ways(inprocess.Transport{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-crash
		panic(syscall.ECONNRESET)
	})}, inprocess.Transport{Handler: servedBy("b")})
	p := newPool(t, backends[:1], Options{Transport: way})
	codes := make(chan int, clients)
	for range clients {
		go func() { codes <- get(p, "GET", "/", nil).Code }()
	}
	for range clients {
		<-arrived
	}
	if err := p.Update(backends); err != nil {
		t.Fatal(err)
	}
	close(crash)
	for range clients {
		if code := <-codes; code != 200 {
			t.Errorf("a GET in hand at the crash was answered %d", code)
		}
	}
}

func TestWhatWasNotSentGoesOnToAnyoneLeft(t *testing.T) {
	backends, way := ways(refused, refused, refused, inprocess.Transport{Handler: servedBy("d")})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
}

func TestTheLogLineSaysWhereItWent(t *testing.T) {
	backends, way := ways(refused, inprocess.Transport{Handler: servedBy("b")})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	ctx, rec := transit.With(context.Background())
	get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	for part, v := range rec.Notes() {
		got := v.LogValue().String()
		if part != "pool" || !strings.HasPrefix(got, "b ") || !strings.HasSuffix(got, "s after a: connection refused") {
			t.Errorf("noted %s=%q", part, got)
		}
		return
	}
	t.Error("nothing was noted")
}

// TestRetrySendsTheBodyAgain, if it was there before the first backend got it, or
// is short.
func TestRetrySendsTheBodyAgain(t *testing.T) {
	for _, c := range []struct {
		size  int
		pause time.Duration // before each of its last two bytes
		want  int
	}{{1, 0, 200}, {64 << 10, 0, 200}, {64<<10 + 1, 0, 200}, {3 << 20, 0, 200}, {64 << 10, time.Second, 200}, {64<<10 + 1, time.Second, 502}} {
		synctest.Test(t, func(t *testing.T) {
			var got []byte
			fails := inprocess.Transport{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				panic("hangs up")
			})}
			echo := inprocess.Transport{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, _ = io.ReadAll(r.Body)
			})}
			backends, way := ways(fails, echo)
			p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin(), Spool: Spool{Dir: t.TempDir()}})
			sent := filled(c.size)
			last := max(c.size-2, 0)
			body := io.MultiReader(bytes.NewReader(sent[:last]), later{c.pause}, bytes.NewReader(sent[last:c.size-1]), later{c.pause}, bytes.NewReader(sent[c.size-1:]))
			w := get(p, "PUT", "/", body, header("Idempotency-Key", "1"), func(r *http.Request) { r.ContentLength = -1 })
			if w.Code != c.want || c.want == 200 && !bytes.Equal(got, sent) || c.want != 200 && got != nil {
				t.Errorf("%d bytes, the last after %v: got %d, %d bytes", c.size, c.pause, w.Code, len(got))
			}
			empty(t, p)
		})
	}
}

// later is nothing, after a while. It sleeps: for a synctest bubble only.
type later struct{ after time.Duration }

func (l later) Read([]byte) (int, error) {
	time.Sleep(l.after)
	return 0, io.EOF
}

func TestStatusOfErrors(t *testing.T) {
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
		}
		return nil, errors.New("malformed HTTP response")
	}))
	cases := []struct {
		name string
		body io.Reader
		want int
	}{
		{"garbage", nil, 502},
		{"a body that is too large", http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("long")), 1), 413},
		{"a body that stalls", failing{os.ErrDeadlineExceeded}, 408},
		{"a client that leaves within its body", failing{io.ErrUnexpectedEOF}, 499},
	}
	for _, c := range cases {
		p := newPool(t, backends, Options{Transport: way})
		if got := get(p, "POST", "/", c.body).Code; got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
		if s := p.Backends()[0]; c.body != nil && s.Failures != 0 {
			t.Errorf("%s: the backend is blamed", c.name)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestClientGoneIsNobodysFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			time.Sleep(time.Second)
		}, servedBy("b")), Options{Policy: RoundRobin()})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, stop := context.WithCancel(ctx)
		time.AfterFunc(time.Second/2, stop)
		w := get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
		if w.Code != 499 {
			t.Errorf("got %d, want 499", w.Code)
		}
		s := p.Backends()
		if s[0].Failures != 0 || s[0].InFlight != 0 || s[1].Requests != 0 {
			t.Errorf("blamed, kept or retried: %+v", s)
		}
		time.Sleep(2 * time.Second) // until the handler has noticed
	})
}

func TestTimeouts(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		pause := func(d time.Duration) bool {
			select {
			case <-time.After(d):
				return true
			case <-r.Context().Done():
				return false
			}
		}
		switch r.URL.Path {
		case "/header":
			pause(5 * time.Minute)
		case "/idle", "/trickle":
			d := 5 * time.Minute
			if r.URL.Path == "/trickle" {
				d = 50 * time.Second
			}
			w.Header().Set("Content-Length", "5")
			for range 5 {
				fmt.Fprint(w, "x")
				_ = http.NewResponseController(w).Flush()
				if !pause(d) {
					return
				}
			}
		}
	}
	cases := []struct {
		name  string
		path  string
		terms transit.Terms
		code  int
		after time.Duration
		bytes int
	}{
		{"no header", "/header", transit.Terms{}, 504, time.Minute, -1},
		{"a rule that waits longer", "/header", transit.Terms{Header: 10 * time.Minute}, 200, 5 * time.Minute, 0},
		{"a rule that waits as long as it takes", "/header", transit.Terms{Header: -1}, 200, 5 * time.Minute, 0},
		{"a pause inside the body", "/idle", transit.Terms{}, 200, time.Minute, 1},
		{"pauses that are short enough", "/trickle", transit.Terms{}, 200, 250 * time.Second, 5},
		{"a total limit", "/trickle", transit.Terms{Total: 110 * time.Second}, 200, 110 * time.Second, 3},
		{"a total limit before the header", "/header", transit.Terms{Total: 10 * time.Second}, 504, 10 * time.Second, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(slow), Options{})
				start := time.Now()
				w := get(p, "GET", c.path, nil, terms(c.terms))
				synctest.Wait()
				if w.Code != c.code || time.Since(start) != c.after || c.bytes >= 0 && w.Body.Len() != c.bytes {
					t.Errorf("got %d with %d bytes after %v, want %d, %d after %v", w.Code, w.Body.Len(), time.Since(start), c.code, c.bytes, c.after)
				}
			})
		})
	}
}

func TestUnproven(t *testing.T) {
	raw := func(response string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = conn.Write([]byte(response))
			_ = conn.Close()
		}))
	}
	for response, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                            false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": false,
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok":                            true,
		"HTTP/1.0 200 OK\r\n\r\nok":                                                 true,
		"HTTP/1.1 304 Not Modified\r\n\r\n":                                         false,
	} {
		srv := raw(response)
		p := newPool(t, Backends(srv.URL), Options{})
		ctx, rec := transit.With(context.Background())
		get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
		if rec.Unproven != want {
			t.Errorf("%q: got %v", response, rec.Unproven)
		}
		srv.Close()
	}
}

func TestAffinityBindsAndKeepsAnswersApart(t *testing.T) {
	stored := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("CDN-Cache-Control", "max-age=600")
			w.Header().Set("Foretier-Cache-Control", "max-age=600")
			fmt.Fprint(w, name, r.Header.Get("Cookie"))
		}
	}
	p := newPool(t, here(stored("a"), stored("b")), Options{Affinity: cookie{}})
	w := get(p, "GET", "/", nil)
	if w.Header().Get("Set-Cookie") != "at="+w.Body.String() {
		t.Errorf("bound by %q to %s", w.Header().Get("Set-Cookie"), w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("CDN-Cache-Control") != "" || w.Header().Get("Foretier-Cache-Control") != "" {
		t.Errorf("one visitor's cookie may be shared: %v", w.Header())
	}
	w = get(p, "GET", "/", nil, header("Cookie", "at=b"))
	if w.Body.String() != "b" || w.Header().Get("Set-Cookie") != "" || w.Header().Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("a bound client: %s %v", w.Body, w.Header())
	}
	// What a cache means to share binds nobody.
	ctx, rec := transit.With(context.Background())
	rec.Storable = func(status int, h http.Header) bool {
		return status == 200 && strings.Contains(h.Get("Cache-Control"), "public")
	}
	w = get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if w.Header().Get("Set-Cookie") != "" || w.Header().Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("a stored answer: %v", w.Header())
	}
	by := map[string]bool{}
	for range 20 {
		by[get(p, "GET", "/", nil, header("X-Key", "visitor 7")).Body.String()] = true
	}
	if len(by) != 1 {
		t.Errorf("one key was served by %v", by)
	}
}

func TestBoundToOneThatIsDown(t *testing.T) {
	backends, way := ways(refused, inprocess.Transport{Handler: servedBy("b")})
	p := newPool(t, backends, Options{Transport: way, Affinity: cookie{}})
	for range 3 {
		w := get(p, "GET", "/", nil, header("Cookie", "at=a"))
		if w.Code != 200 || w.Header().Get("Set-Cookie") != "at=b" {
			t.Errorf("got %d, %v", w.Code, w.Header())
		}
	}
}

type matchPath string

func (m matchPath) Match(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, string(m)) }

func TestRefuse(t *testing.T) {
	asked := 0
	h := func(http.ResponseWriter, *http.Request) { asked++ }
	srv := httptest.NewServer(http.HandlerFunc(h))
	defer srv.Close()
	cases := []struct {
		base, path string
		want       int
	}{
		{"", "/admin", 403},
		{"", "/shop", 200},
		{"/admin", "/", 403}, // only the joined path shows it
		{"/shop", "/admin", 403},
	}
	for _, c := range cases {
		p := newPool(t, Backends(srv.URL+c.base), Options{Refuse: matchPath("/admin")})
		asked = 0
		w := get(p, "GET", c.path, nil)
		if w.Code != c.want || (asked > 0) != (c.want == 200) {
			t.Errorf("%s at %q: got %d, asked %d times", c.path, c.base, w.Code, asked)
		}
		if s := p.Backends()[0]; s.Failures != 0 || s.InFlight != 0 {
			t.Errorf("%s: %+v", c.path, s)
		}
	}
}

func TestLimitQueuesAndTurnsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		p := newPool(t, here(func(http.ResponseWriter, *http.Request) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
		}), Options{Limits: Limits{InFlight: 2, Queue: 12}})
		codes := make(chan int)
		for i := range 20 { // of one client half would wait
			go func() { codes <- get(p, "GET", "/", nil, from(i)).Code }()
		}
		count := map[int]int{}
		for range 20 {
			count[<-codes]++
		}
		// 2 at once, 12 wait, 6 are turned away at once; of the 12, eight are
		// served within 5 s, and for two a place comes free at that moment.
		if most.Load() != 2 || count[503] < 8 || count[503] > 10 || count[200]+count[503] != 20 {
			t.Errorf("at most %d at once, %v", most.Load(), count)
		}
		w := get(p, "GET", "/", nil)
		if w.Code != 200 || p.view.Waiting() != 0 {
			t.Errorf("afterwards: %d, %d wait", w.Code, p.view.Waiting())
		}
	})
}

func TestJoinKeepsThePathAsItWasSent(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI }))
	defer srv.Close()
	for _, c := range []struct{ base, path, want string }{
		{"", "/a%2Fb//c/../d?x=1", "/a%2Fb//c/../d?x=1"},
		{"/", "/img/https://x", "/img/https://x"},
		{"/shop/", "/a%2Fb", "/shop/a%2Fb"},
		{"/sh%2Fop", "/x y", "/sh%2Fop/x%20y"},
		{"/shop", "//admin", "/shop//admin"},
	} {
		p := newPool(t, Backends(srv.URL+c.base), Options{})
		r := httptest.NewRequest("GET", "/", nil)
		var err error
		if r.URL, err = url.Parse("http://shop.example" + strings.ReplaceAll(c.path, " ", "%20")); err != nil {
			t.Fatal(err)
		}
		p.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%q + %q: got %q, want %q", c.base, c.path, got, c.want)
		}
	}
}

func TestRequestsAreRescuedFromOneThatTurnsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		var dead atomic.Bool
		p := newPool(t, here(hangs, servedBy("b")), Options{
			Policy: RoundRobin(),
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				if to.Name == "a" && dead.Load() {
					return health.Result{}, context.DeadlineExceeded
				}
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		if err := p.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		type answer struct {
			code  int
			after time.Duration
		}
		ask := func(method string) chan answer {
			if err := p.SetMode("b", Maintenance); err != nil { // so that it goes to a
				t.Fatal(err)
			}
			got := make(chan answer, 1)
			go func() {
				w := get(p, method, "/", nil)
				got <- answer{w.Code, time.Since(start)}
			}()
			synctest.Wait()
			if err := p.SetMode("b", Ready); err != nil {
				t.Fatal(err)
			}
			return got
		}
		page, order := ask("GET"), ask("POST")
		dead.Store(true)
		if got := <-page; got.code != 200 || got.after > 10*time.Second {
			t.Errorf("the page: %d after %v", got.code, got.after)
		}
		if got := <-order; got.code != 504 || got.after < time.Minute {
			t.Errorf("the order, which may have been executed: %d after %v", got.code, got.after)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestASlowBodyDoesNotHoldUpItsRepeat(t *testing.T) {
	body, feed := io.Pipe()
	sent := make(chan bool)
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		go func() { // as a transport may, it reads on after it failed
			_, _ = io.Copy(io.Discard, r.Body)
		}()
		<-sent
		return nil, syscall.ECONNRESET
	}), inprocess.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go func() {
			_, _ = io.WriteString(feed, " and the rest")
			_ = feed.Close()
		}()
		_, _ = io.Copy(w, r.Body)
	})})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	go func() {
		_, _ = io.WriteString(feed, "the start")
		close(sent)
	}()
	w := get(p, "POST", "/", body)
	if w.Code != 200 || w.Body.String() != "the start and the rest" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestOneBrokenPageIsNoBrokenServer(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	p := newPool(t, here(page, page, page), Options{})
	for range 200 {
		get(p, "GET", "/broken", nil)
	}
	for _, s := range p.Backends() {
		if s.State == health.Degraded {
			t.Errorf("%s: %s", s.Name, s.Why)
		}
	}
	// One that answers everything so is.
	backends, way := ways(inprocess.Transport{Handler: http.HandlerFunc(page)}, inprocess.Transport{Handler: http.HandlerFunc(page)}, status(500))
	p = newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	for i := range 100 {
		if w := get(p, "GET", fmt.Sprint("/", i), nil, from(i)); w.Code != 200 {
			t.Fatalf("got %d", w.Code)
		}
	}
	if s := p.Backends()[2]; s.State != health.Degraded || s.Requests != 20 {
		t.Errorf("%v after %d requests, want it out after 20", s.State, s.Requests)
	}
}
