package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)

// servedBy is a handler that says who it is, and reads what it is sent.
func servedBy(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Served-By", name)
		fmt.Fprint(w, name)
	}
}

// here returns backends a, b, c ... that are handlers of this process.
func here(handlers ...http.HandlerFunc) []Backend {
	var out []Backend
	for i, h := range handlers {
		out = append(out, Backend{Name: string(rune('a' + i)), Handler: h})
	}
	return out
}

// newPool returns a pool that is closed with the test.
func newPool(t testing.TB, backends []Backend, opts Options) *Pool {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	p, err := New(backends, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// get asks the pool without a socket, as a server would.
func get(p http.Handler, method, path string, body io.Reader, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://shop.example"+path, body)
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// roundTrip lets a function be the way to a backend.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refused is the way to nobody.
var refused = roundTrip(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED })

func TestServesInTurn(t *testing.T) {
	a, b := httptest.NewServer(servedBy("a")), httptest.NewServer(servedBy("b"))
	defer a.Close()
	defer b.Close()
	front := httptest.NewServer(newPool(t, Backends(a.URL, b.URL), Options{Policy: RoundRobin()}))
	defer front.Close()
	got := ""
	for range 4 {
		res, err := http.Get(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got += res.Header.Get("X-Served-By")
	}
	if got != "abab" {
		t.Errorf("got %q, want abab", got)
	}
}

// A noGuard guards nothing.
type noGuard struct{}

func (*noGuard) Match(*http.Request) bool { return false }

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	cases := []struct {
		backends []Backend
		opts     Options
		want     string
	}{
		{Backends("web:8080"), Options{}, "starts with http://"},
		{Backends("ftp://web"), Options{}, "starts with http://"},
		{Backends("http://"), Options{}, "names no host"},
		{Backends("http://web/?a=1"), Options{}, "no query"},
		{Backends("http://user:secret@web/"), Options{}, "no query, fragment or user"},
		{Backends("http://web", "http://web:80/shop"), Options{}, `two backends are named "web:80"`},
		{[]Backend{{URL: "http://web", Weight: -1}}, Options{}, "negative"},
		{[]Backend{{URL: "http://web", Handler: servedBy("a")}}, Options{}, "one of them"},
		{[]Backend{{Handler: servedBy("a")}}, Options{}, "needs a Name"},
		{Backends("10.0.0.1:8080"), Options{}, `"10.0.0.1:8080" has no scheme: want "http://10.0.0.1:8080"`},
		{Backends("localhost:8080"), Options{}, `want "http://localhost:8080"`},
		{Backends("10.0.0.1"), Options{}, `want "http://10.0.0.1"`},
		{Backends(" 10.0.0.1:8080"), Options{}, `want "http://10.0.0.1:8080"`},
		{Backends("user:secret@web:8080"), Options{}, "has no scheme"},
		{Backends("http://user:secret@we b"), Options{}, "is no URL"},
		{Backends(""), Options{}, "has neither URL nor Handler"},
		{Backends("http://web:0"), Options{}, "from 1 to 65535"},
		{Backends("http://web:65536"), Options{}, "from 1 to 65535"},
		{Backends("http://unix:/run/shop.sock"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix:/run/shop.sock"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix://run/shop.sock"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix:///run/shop.sock?a=1"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix:///run/"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix:///" + strings.Repeat("a", 103)), Options{}, "at most 103 bytes"},
		{Backends("/run/shop.sock"), Options{}, "such as unix:///run/shop.sock"},
		{Backends("unix:///run/a.sock", "unix:///run/a.sock"), Options{}, `two backends are named "/run/a.sock"`},
		{nil, Options{Source: DNS("unix:///run/shop.sock", 0)}, "is a socket of this machine"},
		{Backends("tcp://db:3306"), Options{}, "for connections there is balancer/tcp"},
		{[]Backend{{Name: "a", Handler: (*Pool)(nil)}}, Options{}, "Handler is a nil *balancer.Pool"},
		{nil, Options{Source: DNS("apps.internal:8080", 0)}, `DNS: "apps.internal:8080" has no scheme: want "http://apps.internal:8080"`},
		{nil, Options{Source: DNS("http+srv://_http._tcp.apps:80", 0)}, "an SRV record names the port"},
		{nil, Options{Source: DNS("http://apps", -time.Second)}, "want 0 or more"},
		{nil, Options{Probe: (*health.HTTPProbe)(nil)}, "Probe is a nil *health.HTTPProbe"},
		{nil, Options{Probe: health.HTTP("healthz")}, `probe path "healthz": want a path`},
		{nil, Options{Probe: health.HTTP("http://web/healthz")}, "want a path on the backend"},
		{nil, Options{Probe: &health.HTTPProbe{Host: "https://shop.example"}}, "want a host"},
		{nil, Options{Refuse: (*noGuard)(nil)}, "Refuse is a nil *balancer.noGuard"},
		{nil, Options{Retries: Retries{Budget: math.NaN()}}, "no number"},
		{nil, Options{Limits: Limits{Queue: 10}}, "and no InFlight"},
		{nil, Options{Limits: Limits{Wait: time.Second}}, "and no InFlight"},
		{nil, Options{Limits: Limits{InFlight: -1}}, "not negative"},
		{nil, Options{Schedule: health.Schedule{Rise: -1}}, "negative"},
		{nil, Options{Outlier: health.Outlier{MinSuccess: 2}}, "at most 1"},
	}
	for _, c := range cases {
		_, err := New(c.backends, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: got %v, want it to say %q", c.backends, err, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Retries{Max: 1, Budget: 0.2, Min: 3, Body: 64 << 10}); o.Retries != want {
		t.Errorf("Retries: got %+v, want %+v", o.Retries, want)
	}
	if want := (Timeouts{Dial: time.Second, Header: time.Minute, Idle: time.Minute}); o.Timeouts != want {
		t.Errorf("Timeouts: got %+v, want %+v", o.Timeouts, want)
	}
	if want := (Limits{Queue: 128, Wait: 5 * time.Second}); o.Limits != want {
		t.Errorf("Limits: got %+v, want %+v", o.Limits, want)
	}
	if want := (Spool{Bytes: 1 << 30}); o.Spool != want {
		t.Errorf("Spool: got %+v, want %+v", o.Spool, want)
	}
	if o.Policy != Adaptive() || o.Name != "pool" {
		t.Errorf("got policy %T, name %q", o.Policy, o.Name)
	}
	b, _, err := Backends("https://web/shop/")[0].resolve()
	if err != nil || b.Name != "web:443" || b.Weight != 1 || b.Tier != 0 {
		t.Errorf("backend: got %+v, %v", b, err)
	}
}

func TestNoBackend(t *testing.T) {
	w := get(newPool(t, nil, Options{}), "GET", "/", nil)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

func TestUpdateKeepsState(t *testing.T) {
	p := newPool(t, Backends("http://127.0.0.1:1", "http://127.0.0.1:2"), Options{})
	first := p.view.Snap.Load().ByName("127.0.0.1:1").Member
	share := func(name string) float64 { return p.view.Snap.Load().ByName(name).Share(time.Now()) }
	if share("127.0.0.1:1") != 1 {
		t.Error("the first backends start slowly, and nobody else is there")
	}
	if err := p.Update([]Backend{{URL: "http://127.0.0.1:1", Weight: 5}, {URL: "http://127.0.0.1:3"}}); err != nil {
		t.Fatal(err)
	}
	if p.view.Snap.Load().ByName("127.0.0.1:1").Member != first {
		t.Error("a new weight made the pool forget the backend")
	}
	if share("127.0.0.1:1") != 5 || share("127.0.0.1:3") != pool.RampFrom {
		t.Errorf("shares %v, %v; want those that come later to start slowly", share("127.0.0.1:1"), share("127.0.0.1:3"))
	}
	if p.Update(Backends("nonsense")) == nil || len(p.Backends()) != 2 {
		t.Error("a failed Update changed the pool")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Update(nil); err != ErrClosed {
		t.Errorf("Update after Close: got %v", err)
	}
	if w := get(p, "GET", "/", nil); w.Code != 503 {
		t.Errorf("a closed pool answers %d", w.Code)
	}
}

func TestModes(t *testing.T) {
	p := newPool(t, here(servedBy("a"), servedBy("b")), Options{Affinity: cookie{}, Policy: RoundRobin()})
	pinned := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "at", Value: "a"}) }
	cases := []struct {
		mode     Mode
		free     string // who serves those bound to none
		pinned   string // who serves those bound to a
		whyShown string
	}{
		{Ready, "ab", "a", ""},
		{Drain, "b", "a", "set to drain"},
		{Maintenance, "b", "b", "set to maintenance"},
		{Ready, "ab", "a", ""},
	}
	for _, c := range cases {
		if err := p.SetMode("a", c.mode); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 40 {
			seen[get(p, "GET", "/", nil).Body.String()] = true
			if got := get(p, "GET", "/", nil, pinned).Body.String(); got != c.pinned {
				t.Fatalf("%v: a client bound to a is served by %s", c.mode, got)
			}
		}
		if len(seen) != len(c.free) {
			t.Errorf("%v: others are served by %v, want %s", c.mode, seen, c.free)
		}
		if why := p.Report().Parts[0].Why; c.whyShown != "" && why != c.whyShown {
			t.Errorf("%v: reported as %q", c.mode, why)
		}
	}
	if err := p.SetMode("z", Drain); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if p.SetMode("a", 9) == nil || p.Act(context.Background(), "a", "explode", "") == nil {
		t.Error("an unknown mode is taken")
	}
	if err := p.Act(context.Background(), "a", "drain", ""); err != nil || p.Backends()[0].Mode != Drain {
		t.Errorf("Act: %v, %v", err, p.Backends()[0].Mode)
	}
}

func TestTiers(t *testing.T) {
	way := map[string]http.RoundTripper{"a": refused, "b": inprocess.Transport{Handler: servedBy("b")}}
	p := newPool(t, []Backend{{Name: "a", URL: "http://a"}, {Name: "b", URL: "http://b", Tier: 1}}, Options{
		Transport: func(b Backend) http.RoundTripper { return way[b.Name] },
	})
	for i := range 4 {
		if w := get(p, "GET", "/", nil); w.Code != 200 {
			t.Errorf("request %d: got %d, want the backup to serve", i, w.Code)
		}
	}
	if n := p.Backends()[0].Requests; n != 2 {
		t.Errorf("the dead one was tried %d times, want 2", n)
	}
}

// cookie is an affinity in clear text.
type cookie struct{}

func (cookie) Choose(r *http.Request) (string, string) {
	if c, err := r.Cookie("at"); err == nil {
		return c.Value, ""
	}
	if k := r.Header.Get("X-Key"); k != "" {
		return "", k
	}
	return "", ""
}
func (cookie) Strip(h http.Header) { h.Del("Cookie") }
func (cookie) Bind(h http.Header, r *http.Request, name string) {
	if c, err := r.Cookie("at"); err != nil || c.Value != name {
		h.Add("Set-Cookie", "at="+name)
	}
}
func (cookie) OwnsCookie(name string) bool { return name == "at" }

func TestProbesTakeOutAndBringBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sick := false
		first := time.Duration(-1)
		start := time.Now()
		set := func(v bool) {
			mu.Lock()
			defer mu.Unlock()
			sick = v
		}
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Probe: health.ProbeFunc(func(_ context.Context, to health.Target) (health.Result, error) {
				if to.Name == "a" {
					mu.Lock()
					defer mu.Unlock()
					if first < 0 {
						first = time.Since(start)
					}
					if sick {
						return health.Result{State: health.Degraded, Note: "no database"}, nil
					}
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
		mu.Lock()
		if first != 0 {
			t.Errorf("the first probe came after %v, want it at once", first)
		}
		mu.Unlock()
		set(true)
		time.Sleep(6*time.Second + 2*1200*time.Millisecond + time.Millisecond)
		synctest.Wait()
		s := p.Backends()[0]
		if s.State != health.Down || s.Why != "fails its probes: no database" {
			t.Fatalf("after three bad probes: %v %q", s.State, s.Why)
		}
		for range 20 {
			if got := get(p, "GET", "/", nil).Body.String(); got != "b" {
				t.Fatalf("served by %s", got)
			}
		}
		set(false)
		time.Sleep(2*1200*time.Millisecond + time.Millisecond)
		synctest.Wait()
		if s := p.Backends()[0]; s.State != health.Up {
			t.Errorf("after two good probes: %v %q", s.State, s.Why)
		}
		if n := len(p.Report().Events); n != 4 { // both up, then down and up
			t.Errorf("got %d events, want 4: %v", n, p.Report().Events)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(servedBy("a")), Options{Probe: health.ProbeFunc(func(ctx context.Context, _ health.Target) (health.Result, error) {
			<-ctx.Done() // hangs
			return health.Result{}, ctx.Err()
		})})
		done := make(chan error)
		go func() { done <- p.Run(context.Background()) }()
		time.Sleep(30 * time.Second)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.WaitReady(context.Background()); err != ErrClosed {
			t.Errorf("WaitReady of a closed pool: %v", err)
		}
	})
}

func TestWaitReadyGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(servedBy("a")), Options{Probe: health.TCP()})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNoBackend) {
			t.Errorf("got %v", err)
		}
	})
}

func TestReportAndExplain(t *testing.T) {
	p := newPool(t, here(servedBy("a"), servedBy("b")), Options{Name: "apps", Affinity: cookie{}, Policy: RoundRobin()})
	get(p, "GET", "/", nil)
	r := p.Report()
	if r.Kind != "pool" || r.Name != "apps" || r.State != health.Up || len(r.Parts) != 2 {
		t.Errorf("got %+v", r)
	}
	ask := func(edit func(*http.Request)) string {
		r := httptest.NewRequest("GET", "/", nil)
		edit(r)
		return p.Explain(r).String()
	}
	if got := ask(func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "at", Value: "b"}) }); !strings.HasPrefix(got, "pool apps: b (the client is bound to it)\n") {
		t.Error(got)
	}
	if err := p.SetMode("b", Maintenance); err != nil {
		t.Fatal(err)
	}
	if got := ask(func(*http.Request) {}); !strings.HasPrefix(got, "pool apps: a (the only one that may serve)\n") || !strings.Contains(got, "b: unknown, weight 1, 0 in hand, 0s to a response; not picked: set to maintenance") {
		t.Error(got)
	}
	if !p.Healthy(nil) || newPool(t, nil, Options{}).Healthy(nil) {
		t.Error("Healthy")
	}
	if !p.OwnsCookie("at") || p.OwnsCookie("cart") {
		t.Error("OwnsCookie")
	}
}

func TestEqualServersShareQuietTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := map[string]int{}
		page := func(name string, first time.Duration) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) {
				time.Sleep(time.Millisecond + first)
				first = 0 // compiled now
				count[name]++
			}
		}
		p := newPool(t, here(page("a", 20*time.Millisecond), page("b", 15*time.Millisecond)), Options{})
		for range 40 {
			get(p, "GET", "/", nil)
			time.Sleep(time.Millisecond)
		}
		if count["a"] < 10 || count["b"] < 10 {
			t.Errorf("40 requests, one after the other, went %v", count)
		}
	})
}
