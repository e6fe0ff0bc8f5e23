package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// hang is a server that takes calls and answers none.
func hang(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAHungStoreIsBounded: who uses the session gets 503 after the budget, and
// at once when the breaker has seen enough; who does not waits for nothing.
func TestAHungStoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		var lines testkit.Log
		m := manager(t, store, session.Options{Logger: lines.Logger()})
		b := newBrowser(m.Handler(app()))
		b.do("POST", "/add?sku=tea")
		store.before = hang
		took := func(path string) (code int, d time.Duration) {
			start := time.Now()
			w := b.with().do("GET", path)
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "5" {
				t.Errorf("Retry-After: %v", w.Header())
			}
			if len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("a cookie: %v", w.Header())
			}
			return w.Code, time.Since(start)
		}
		for i := range 20 {
			if code, d := took("/read"); code != http.StatusServiceUnavailable || d != time.Second {
				t.Fatalf("request %d: %d after %v, want 503 after 1s", i, code, d)
			}
			if code, d := took("/plain"); code != http.StatusOK || d != 0 {
				t.Fatalf("without a session: %d after %v", code, d)
			}
			if m.Report().State == health.Down {
				t.Logf("open after %d failures", i+1)
				break
			}
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { took("/read") })
		}
		wg.Wait()
		if m.Report().State != health.Down || !strings.Contains(m.Report().Why, "503") {
			t.Errorf("report: %+v", m.Report())
		}
		if code, d := took("/read"); code != http.StatusServiceUnavailable || d != 0 {
			t.Errorf("with the breaker open: %d after %v, want at once", code, d)
		}
		store.before = nil
		time.Sleep(time.Second)
		if code, _ := took("/read"); code != http.StatusOK || m.Report().State != health.Up {
			t.Errorf("recovered: %d, %+v", code, m.Report().State)
		}
		if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
			t.Errorf("got %s", got)
		}
		for _, line := range []string{"the store fails and is left alone", "the store answers again"} {
			if n := strings.Count(lines.String(), line); n != 1 {
				t.Errorf("%q logged %d times", line, n)
			}
		}
	})
}

// TestAStoreThatFails: wherever it fails, the client gets an error instead of
// the page, the operator the cause, and the session stays whole.
func TestAStoreThatFails(t *testing.T) {
	errBroken := errors.New("broken pipe")
	cases := map[string]struct{ path, fails string }{
		"loading":  {"/read", "load"},
		"changing": {"/add?sku=x", "update"},
		"login":    {"/login?user=ann", "create"},
		"retiring": {"/login?user=ann", "update"},
		"logout":   {"/logout", "update"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store := newFake()
			var lines testkit.Log
			m := manager(t, store, session.Options{Logger: lines.Logger()})
			b := newBrowser(m.Handler(app()))
			b.do("POST", "/add?sku=tea")
			store.before = func(_ context.Context, call, _ string) error {
				if call == c.fails {
					return errBroken
				}
				return nil
			}
			w := b.do("POST", c.path)
			if w.Code != http.StatusServiceUnavailable || body(w) != "503 Service Unavailable" || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("got %d %s, %v", w.Code, body(w), w.Header())
			}
			if n := strings.Count(lines.String(), "broken pipe"); n != 1 {
				t.Errorf("logged %d times: %s", n, lines.String())
			}
			store.before = nil
			if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
}

// TestATouchThatFails costs the visitor nothing but a little time of the
// session's.
func TestATouchThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		b := newBrowser(manager(t, store, session.Options{}).Handler(app()))
		b.do("POST", "/add?sku=tea")
		time.Sleep(10 * time.Minute)
		store.before = func(_ context.Context, call, _ string) error {
			if call == "touch" {
				return errors.New("broken pipe")
			}
			return nil
		}
		store.taken()
		if w := b.do("GET", "/read"); w.Code != http.StatusOK || body(w) != `{"tea":1}` {
			t.Errorf("got %d %s", w.Code, body(w))
		}
		if got := store.taken(); !slices.Equal(got, []string{"load", "touch"}) {
			t.Errorf("calls %v", got)
		}
	})
}

// TestAFullStore: no new session is promised, and those that are there go on.
func TestAFullStore(t *testing.T) {
	store := newFake()
	b := newBrowser(manager(t, store, session.Options{}).Handler(app()))
	b.do("POST", "/add?sku=tea")
	store.before = func(_ context.Context, call, _ string) error {
		if call == "create" {
			return session.ErrFull
		}
		return nil
	}
	if w := newBrowser(b.handler).do("POST", "/add?sku=tea"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("a new one: %d %v", w.Code, w.Header())
	}
	if w := b.do("POST", "/add?sku=tea"); w.Code != http.StatusOK {
		t.Errorf("one that is there: %d", w.Code)
	}
}

// TestDegrade: an empty session that cannot be changed, and the cookie stays.
func TestDegrade(t *testing.T) {
	store := newFake()
	m := manager(t, store, session.Options{Degrade: func(r *http.Request) bool { return r.URL.Path != "/whoami" }})
	b := newBrowser(m.Handler(script(handlers{
		"/all": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			for _, err := range []error{s.Set("a", 1), s.Delete("a"), add(s, "a"), s.Renew(), s.Subject("ann"), s.Destroy(), s.Lock()} {
				if !errors.Is(err, session.ErrReadOnly) {
					t.Errorf("got %v", err)
				}
			}
			answer(w, "all", s.Save())
		},
	})))
	b.do("POST", "/add?sku=tea")
	store.before = func(context.Context, string, string) error { return errors.New("down") }
	for path, want := range map[string]string{"/read": "null", "/all": `"all"`} {
		w := b.do("POST", path)
		if w.Code != http.StatusOK || body(w) != want || len(w.Header()["Set-Cookie"]) > 0 || w.Header().Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s: %d %s, %v", path, w.Code, body(w), w.Header())
		}
	}
	if w := b.do("GET", "/whoami"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("not degraded: %d", w.Code)
	}
	store.before = nil
	if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
		t.Errorf("afterwards: %s", got)
	}
}

// TestOutageUnderLoad hangs, kills and restarts a real server under load. What
// needs no session is served as fast as ever, what does gets 200 or 503, and
// nobody is told of a change that was not kept.
func TestOutageUnderLoad(t *testing.T) {
	servers := map[string]struct {
		start func(testing.TB, ...string) *servertest.Server
		open  func(*testing.T, *servertest.Server) session.Store
	}{
		"redis":     {servertest.Redis, redisStore},
		"memcached": {servertest.Memcached, memcachedStore},
	}
	for name, kind := range servers {
		t.Run(name, func(t *testing.T) {
			server := kind.start(t)
			m := manager(t, kind.open(t, server), session.Options{Timeout: 200 * time.Millisecond})
			h := m.Handler(app())
			load := startLoad(h)
			load.until(t, "before", func(c counts) bool { return c.plain > 50 && c.ok > 50 })
			if c := load.reset(); c.refused > 0 || c.other != "" {
				t.Errorf("before: %+v", c)
			}
			for _, outage := range []struct {
				name       string
				begin, end func()
			}{
				{"hung", server.Pause, server.Resume},
				{"killed", server.Kill, server.Restart},
			} {
				outage.begin()
				load.until(t, outage.name, func(c counts) bool { return c.refused > 50 && m.Report().State == health.Down })
				load.reset()
				load.until(t, outage.name+", open", func(c counts) bool { return c.plain > 200 && c.refused > 200 })
				c := load.reset()
				if c.other != "" || c.ok > 0 {
					t.Errorf("%s: %+v", outage.name, c)
				}
				if p50 := c.median(); p50 > 5*time.Millisecond {
					t.Errorf("%s: a request without a session took %v", outage.name, p50)
				} else {
					t.Logf("%s: %d requests without a session, median %v", outage.name, c.plain, p50)
				}
				outage.end()
				load.until(t, outage.name+", over", func(c counts) bool { return c.ok > 50 })
				load.reset()
				load.until(t, outage.name+", long over", func(c counts) bool { return c.ok > 50 && m.Report().State == health.Up })
			}
			load.stop()
		})
	}
}

// TestAnOutageLosesNothing: after a server was hung for a while, each cart has
// every item whose change was answered 200; one that was answered 503 may or
// may not be in it.
func TestAnOutageLosesNothing(t *testing.T) {
	server := servertest.Redis(t)
	h := manager(t, redisStore(t, server), session.Options{Timeout: 100 * time.Millisecond}).Handler(app())
	var visitors sync.WaitGroup
	stop := make(chan struct{})
	var refused atomic.Int32
	for range 4 {
		visitors.Go(func() {
			b, kept, unknown := newBrowser(h), 0, 0
			for ended := false; !ended; {
				select {
				case <-stop:
					ended = true
				default:
				}
				switch w := b.do("POST", "/add?sku=tea"); w.Code {
				case http.StatusOK:
					kept++
				default:
					unknown++
					refused.Add(1)
				}
			}
			var cart map[string]int
			for {
				w := b.do("GET", "/read")
				if w.Code == http.StatusOK {
					if err := json.Unmarshal(w.Body.Bytes(), &cart); err != nil {
						t.Error(err)
					}
					break
				}
			}
			if n := cart["tea"]; n < kept || n > kept+unknown {
				t.Errorf("%d in the cart, %d were confirmed and %d refused", n, kept, unknown)
			}
		})
	}
	for range 3 {
		before := refused.Load()
		server.Pause()
		for refused.Load() < before+4 && !t.Failed() {
			<-time.After(time.Millisecond) // a stopped process cannot say when it is
		}
		server.Resume()
	}
	close(stop)
	visitors.Wait()
}

// A load sends requests, with and without a session, until it is stopped.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	counts counts // guarded by mu
}

type counts struct {
	plain       int // served without a session
	ok, refused int // with one: 200 and 503
	other       string
	times       []time.Duration // of plain
}

func (c counts) median() time.Duration {
	slices.Sort(c.times)
	return c.times[len(c.times)/2]
}

func startLoad(h http.Handler) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range 8 {
		l.done.Go(func() {
			b := newBrowser(h)
			for ctx.Err() == nil {
				// One after the other: sums up what this visitor was told.
				w := b.do("POST", "/add?sku=tea")
				l.count(func(c *counts) {
					switch w.Code {
					case http.StatusOK:
						c.ok++
					case http.StatusServiceUnavailable:
						c.refused++
					default:
						c.other = fmt.Sprint(w.Code, w.Body)
					}
				})
			}
		})
	}
	l.done.Go(func() {
		for ctx.Err() == nil {
			start := time.Now()
			w := newBrowser(h).do("GET", "/plain")
			took := time.Since(start)
			l.count(func(c *counts) {
				if c.plain++; w.Code != http.StatusOK {
					c.other = fmt.Sprint(w.Code, w.Body)
				}
				c.times = append(c.times, took)
			})
		}
	})
	return l
}

func (l *load) count(f func(*counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.counts)
}

// reset returns what was counted since the last time.
func (l *load) reset() (c counts) {
	l.count(func(now *counts) { c, *now = *now, counts{} })
	return c
}

// until waits until done is true of what was counted.
func (l *load) until(t *testing.T, when string, done func(counts) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for {
		ok := false
		l.count(func(c *counts) { ok = done(*c) })
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			l.stop()
			c := l.reset()
			t.Fatalf("%s: not reached: plain %d, ok %d, refused %d, other %q", when, c.plain, c.ok, c.refused, c.other)
		}
	}
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// TestARequestWhoseClientLeft is no failure of the store's, and no news.
func TestARequestWhoseClientLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines testkit.Log
		store := newFake()
		m := manager(t, store, session.Options{Logger: lines.Logger()})
		b := newBrowser(m.Handler(app()))
		b.do("POST", "/add?sku=tea")
		store.before = hang
		var n atomic.Int32
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			r := httptest.NewRequestWithContext(ctx, "GET", "https://shop.example/read", nil)
			r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: b.cookies["__Host-sid"]})
			b.handler.ServeHTTP(httptest.NewRecorder(), r)
			cancel()
			n.Add(1)
		}
		if m.Report().State != health.Up || metric(t, m, "calls_failed_total") != 0 {
			t.Errorf("report: %+v", m.Report())
		}
	})
}
