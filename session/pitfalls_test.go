package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// The tests here and in concurrency_test.go are of what users of other session
// libraries were hit by.

// script returns a handler whose paths do what the test wants with the session.
func script(paths map[string]func(http.ResponseWriter, *http.Request, *session.Session)) http.Handler {
	mux := app().(*http.ServeMux)
	for path, f := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { f(w, r, session.From(r.Context())) })
	}
	return mux
}

// with returns a browser at the same place, with the cookies b has now.
func (b *browser) with() *browser {
	again := newBrowser(b.handler)
	for k, v := range b.cookies {
		again.cookies[k] = v
	}
	return again
}

// TestASlowRequestHoldsUpNoOther, as it does where a session is locked for a
// request.
func TestASlowRequestHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := add(s, "slow")
				time.Sleep(time.Minute)
				answer(w, "slow", err)
			},
		})))
		b.do("POST", "/add?sku=first")
		slow := make(chan int)
		other := b.with()
		go func() { slow <- other.do("POST", "/slow").Code }()
		synctest.Wait()
		start := time.Now()
		b.do("POST", "/add?sku=fast")
		if waited := time.Since(start); waited > 0 {
			t.Errorf("waited %v for a slow request", waited)
		}
		if code := <-slow; code != http.StatusOK {
			t.Errorf("the slow one: %d", code)
		}
		if got := body(b.do("GET", "/read")); got != `{"fast":1,"first":1,"slow":1}` {
			t.Errorf("got %s", got)
		}
	})
}

// TestWhoCannotHaveTheLockIsTold: and the client gets an error instead of a page.
func TestWhoCannotHaveTheLockIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, most := 0, 0
		var took []time.Duration
		m := manager(t, session.Memory(), session.Options{})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/pay": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				start := time.Now()
				if err := s.Lock(); err != nil {
					if !errors.Is(err, session.ErrLocked) {
						t.Errorf("Lock: %v", err)
					}
					took = append(took, time.Since(start))
					_ = s.Set("paid", true)
					io.WriteString(w, "a page in spite of it")
					return
				}
				inside++
				most = max(most, inside)
				if r.FormValue("panic") != "" {
					inside--
					panic(http.ErrAbortHandler)
				}
				d, _ := time.ParseDuration(r.FormValue("for"))
				time.Sleep(d)
				inside--
				answer(w, "paid", nil)
			},
		})))
		b.do("POST", "/add?sku=tea")
		pay := func(how string) <-chan *httptest.ResponseRecorder {
			done := make(chan *httptest.ResponseRecorder, 1)
			other := b.with()
			go func() { done <- other.do("POST", "/pay?for="+how) }()
			synctest.Wait()
			return done
		}
		first, second := pay("10s"), pay("1s")
		if w := <-second; w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || strings.Contains(w.Body.String(), "page") {
			t.Errorf("behind a long lock: %d %s", w.Code, w.Body)
		}
		if len(took) != 1 || took[0] != 5*time.Second {
			t.Errorf("waited %v, want 5s", took)
		}
		if w := <-first; w.Code != http.StatusOK {
			t.Errorf("the holder: %d", w.Code)
		}
		third, fourth := pay("1s"), pay("1s")
		if a, c := (<-third).Code, (<-fourth).Code; a != http.StatusOK || c != http.StatusOK {
			t.Errorf("one after the other: %d, %d", a, c)
		}
		func() {
			defer func() { _ = recover() }() // the abort that net/http would catch
			b.with().do("POST", "/pay?panic=1")
		}()
		if w := <-pay("1s"); w.Code != http.StatusOK {
			t.Errorf("after a handler that panicked under the lock: %d", w.Code)
		}
		if most != 1 {
			t.Errorf("%d at once under the lock", most)
		}
	})
}

// TestALockThatRanOut: a holder who is too slow does not take away the lock of
// the one who came after.
func TestALockThatRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := session.Memory()
		var machines [3]*browser
		hold := script(handlers{"/hold": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			err := s.Lock()
			if err == nil {
				d, _ := time.ParseDuration(r.FormValue("for"))
				time.Sleep(d)
			}
			answer(w, "held", err)
		}})
		for i := range machines {
			machines[i] = newBrowser(manager(t, store, session.Options{}).Handler(hold))
		}
		machines[0].do("POST", "/add?sku=tea")
		start := time.Now()
		took := make(chan string, 3)
		for i, request := range []struct {
			at   time.Duration
			hold string
		}{{0, "40s"}, {28 * time.Second, "20s"}, {41 * time.Second, "1s"}} {
			machines[i].cookies = machines[0].cookies
			go func() {
				time.Sleep(request.at)
				w := machines[i].with().do("POST", "/hold?for="+request.hold)
				took <- fmt.Sprintf("%d: %d after %v", i, w.Code, time.Since(start).Round(time.Second))
			}()
		}
		for _, want := range []string{"0: 200 after 40s", "2: 503 after 46s", "1: 200 after 50s"} {
			if got := <-took; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// TestALateResponseSetsNoOldCookie: neither a request that was under
// way, nor one that comes with a retired id, sets a cookie.
func TestALateResponseSetsNoOldCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for path, late := range map[string]int{"/login?user=ann": http.StatusConflict, "/logout": http.StatusOK} {
			m := manager(t, session.Memory(), session.Options{})
			b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
				"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					err := add(s, "slow")
					time.Sleep(10 * time.Second)
					answer(w, "slow", err)
				},
			})))
			b.do("POST", "/add?sku=tea")
			old := b.with()
			slow := make(chan *httptest.ResponseRecorder)
			go func() { slow <- old.with().do("POST", "/slow") }()
			synctest.Wait()
			if w := b.do("POST", path); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Fatalf("%s: %d %v", path, w.Code, w.Header())
			}
			if w := <-slow; w.Code != late || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: under way: %d, %v", path, w.Code, w.Header())
			}
			time.Sleep(49 * time.Second)
			if w := old.with().do("POST", "/add?sku=x"); w.Code != late || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: 59 s later: %d, %v", path, w.Code, w.Header())
			}
			if w := old.with().do("GET", "/whoami"); w.Code != http.StatusOK || body(w) != `""` || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: a look with a retired id: %d %s", path, w.Code, body(w))
			}
			time.Sleep(2 * time.Second) // the tombstone is gone: a new session
			if w := old.with().do("POST", "/add?sku=x"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Errorf("%s: 61 s later: %d, %v", path, w.Code, w.Header())
			}
			want := "null"
			if late == http.StatusConflict {
				want = `{"tea":1}`
			}
			if got := body(b.do("GET", "/read")); got != want {
				t.Errorf("%s: then %s", path, got)
			}
		}
	})
}

// TestTheCookieComesWithTheHeader: whatever sends the header first, the cookie is
// in it; what is only informational is not the header.
func TestTheCookieComesWithTheHeader(t *testing.T) {
	firsts := map[string]func(http.ResponseWriter){
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("x")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "x") },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"controller":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		"ReadFrom":    func(w http.ResponseWriter) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"nothing":     func(http.ResponseWriter) {},
	}
	for name, first := range firsts {
		t.Run(name, func(t *testing.T) {
			m := manager(t, session.Memory(), session.Options{AllowInsecure: true})
			late := make(chan error, 1)
			srv := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				w.Header().Set("Link", "</a.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				if err := s.Set("a", 1); err != nil {
					t.Errorf("Set after 103: %v", err)
				}
				first(w)
				late <- s.Renew()
			})))
			defer srv.Close()
			hints := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if hints++; h.Get("Set-Cookie") != "" {
					t.Error("a cookie in 103")
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
			if len(res.Cookies()) != 1 || hints != 1 {
				t.Errorf("cookies %v, %d hints", res.Header["Set-Cookie"], hints)
			}
			if err, want := <-late, name != "nothing"; errors.Is(err, session.ErrBegun) != want {
				t.Errorf("Renew after the first byte: %v", err)
			}
		})
	}
}

// TestHijack: a handler can take the connection over; the session is
// saved by then and its cookie in the header that the handler may write.
func TestHijack(t *testing.T) {
	store := session.Memory()
	m := manager(t, store, session.Options{AllowInsecure: true})
	after := make(chan error, 1)
	srv := httptest.NewServer(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/upgrade": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			if err := s.Set("a", 1); err != nil {
				t.Error(err)
			}
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			defer conn.Close()
			res := http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
			_ = res.Write(rw)
			_ = rw.Flush()
			_ = s.Set("a", 2)
			after <- s.Save()
		},
		"/a": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, _, err := session.Value[int](s, "a")
			answer(w, v, err)
		},
	})))
	defer srv.Close()
	conn := testkit.Dial(t, srv.Listener.Addr().String())
	defer conn.Close()
	io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 || len(res.Cookies()) != 1 {
		t.Fatalf("got %d, %v", res.StatusCode, res.Header)
	}
	if err := <-after; err != nil {
		t.Errorf("Save on a hijacked connection: %v", err)
	}
	req, err := http.NewRequest("GET", srv.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(res.Cookies()[0])
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "2\n" {
		t.Errorf("got %s", got)
	}
}

// TestADisconnectCancelsNoSave: what a client asked for is saved even
// if it does not wait for the answer.
func TestADisconnectCancelsNoSave(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBrowser(manager(t, open(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/leave": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := add(s, "left")
				cancel()
				answer(w, "left", err)
			},
		})))
		b.do("POST", "/add?sku=tea")
		r := httptest.NewRequestWithContext(ctx, "POST", "https://shop.example/leave", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: b.cookies["__Host-sid"]})
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		if got := body(b.do("GET", "/read")); got != `{"left":1,"tea":1}` {
			t.Errorf("got %s", got)
		}
	})
}

// ttls is a store that refuses to keep a record for ever.
type ttls struct {
	session.Store
	t *testing.T
}

func (s ttls) check(ttl time.Duration) {
	if ttl <= 0 {
		s.t.Errorf("a record with %v to live, which a store may take for ever", ttl)
	}
}

func (s ttls) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s ttls) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Update(ctx, key, old, data, ttl)
}

func (s ttls) Touch(ctx context.Context, key string, old session.Record, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Touch(ctx, key, old, ttl)
}

// TestAnEndedSessionIsNotKept: a session that ends of age while it is changed
// is not kept for ever.
func TestAnEndedSessionIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = time.Hour
		m := manager(t, ttls{session.Memory(), t}, session.Options{Idle: lifetime, Lifetime: lifetime})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/slow": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				err := add(s, "slow")
				if r.FormValue("renew") != "" {
					err = errors.Join(err, s.Renew())
				}
				time.Sleep(20 * time.Second)
				answer(w, "slow", err)
			},
		})))
		for _, path := range []string{"/slow", "/slow?renew=1"} {
			b.do("POST", "/add?sku=tea")
			time.Sleep(lifetime - 10*time.Second)
			if w := b.do("POST", path); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, body(w))
			}
			if got := body(b.do("GET", "/read")); got != "null" {
				t.Errorf("%s: past its lifetime: %s", path, got)
			}
		}
	})
}

// TestKeys: the store gets short keys of plain letters that do not
// open the session, a bounded size, and a count of what it lost.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		var mu sync.Mutex
		keys := map[string]bool{}
		store.before = func(_ context.Context, _, key string) error {
			mu.Lock()
			defer mu.Unlock()
			keys[key] = true
			return nil
		}
		m := manager(t, store, session.Options{})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/much": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				answer(w, "much", s.Set("much", strings.Repeat("x", session.MaxSize)))
			},
			"/lock": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "lock", s.Lock()) },
		})))
		b.do("POST", "/login?user=Jörg")
		b.do("POST", "/lock")
		b.do("GET", "/read")
		form := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
		id, _, _ := strings.Cut(b.cookies["__Host-sid"], ".")
		for key := range keys {
			if !form.MatchString(key) || strings.Contains(key, id) {
				t.Errorf("key %q", key)
			}
		}
		if len(keys) != 3 {
			t.Errorf("%d keys, want a session, a subject and a lock", len(keys))
		}
		if w := b.do("POST", "/much"); w.Code != http.StatusTeapot || !strings.Contains(body(w), "too large") {
			t.Errorf("too much: %d %s", w.Code, body(w))
		}
		if got := body(b.do("GET", "/whoami")); got != `"Jörg"` {
			t.Errorf("what was there before: %s", got)
		}

		store.Store = session.Memory() // all is lost
		b.do("GET", "/read")
		if got := metric(t, m, "missing_total"); got != 1 {
			t.Errorf("missing: %v, want 1", got)
		}
		time.Sleep(time.Hour)
		b.do("GET", "/read")
		if got := metric(t, m, "missing_total"); got != 1 {
			t.Errorf("missing, though it would have expired: %v", got)
		}
	})
}

func metric(t *testing.T, m *session.Manager, name string) float64 {
	t.Helper()
	for _, metric := range m.Report().Metrics {
		if metric.Name == name {
			return metric.Value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestTheCookieIsSmall, whatever the session holds.
func TestTheCookieIsSmall(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/much": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "much", errors.Join(s.Subject(strings.Repeat("u", 1000)), s.Set("much", strings.Repeat("x", 60_000))))
		},
	})))
	if w := b.do("POST", "/much"); w.Code != http.StatusOK || len(w.Header().Get("Set-Cookie")) > 150 {
		t.Errorf("%d %s", w.Code, w.Header().Get("Set-Cookie"))
	}
}

// TestValuesAreCopies: Set is what writes.
func TestValuesAreCopies(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/mutate": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			cart := map[string]int{"tea": 1}
			err := s.Set("cart", cart)
			cart["tea"] = 99
			seen, _, _ := session.Value[map[string]int](s, "cart")
			seen["pot"] = 99
			again, _, _ := session.Value[map[string]int](s, "cart")
			answer(w, again, err)
		},
	})))
	for _, path := range []string{"/mutate", "/read"} {
		if got := body(b.do("POST", path)); got != `{"tea":1}` {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

// TestPrefixForging: a cookie that PHP would take for ours does not
// pass, and two of our name count for none.
func TestPrefixForging(t *testing.T) {
	var passed string
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/pass": func(_ http.ResponseWriter, r *http.Request, _ *session.Session) { passed = r.Header.Get("Cookie") },
	})))
	b.do("POST", "/add?sku=tea")
	own := "__Host-sid=" + b.cookies["__Host-sid"]
	cases := map[string]string{
		own + "; a=1":                        own + "; a=1",
		"..Host-sid=x; " + own:               own,
		"%5F%5FHost-sid=x; a=1":              "a=1",
		"_.Host-sid=x; a.b=2; __Host.sid=3":  "a.b=2; __Host.sid=3",
		"[_Host-sid=x; %5f_Host-%73id=y; c=": "c=",
	}
	for in, want := range cases {
		r := httptest.NewRequest("GET", "https://shop.example/pass", nil)
		r.Header.Set("Cookie", in)
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		if passed != want {
			t.Errorf("%s: passed %q, want %q", in, passed, want)
		}
		if r.Header.Get("Cookie") != in {
			t.Errorf("%s: the caller's request was changed", in)
		}
	}
	r := httptest.NewRequest("GET", "https://shop.example/read", nil)
	r.Header.Set("Cookie", own+"; "+own)
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if body(w) != "null" {
		t.Errorf("two cookies of our name: %s", body(w))
	}
}

// TestNobodyForgesAPin is covered in full by sticky_test.go; here is
// the sum of it: nobody without the key makes a pin, or learns from one.
func TestNobodyForgesAPin(t *testing.T) {
	value := strings.TrimPrefix(strings.Split(bound(sticky(t, oneKey, session.StickyOptions{})).Get("Set-Cookie"), ";")[0], "route=")
	s := sticky(t, oneKey, session.StickyOptions{})
	for i := range len(value) {
		for _, c := range []byte("Aa0") {
			if value[i] == c {
				continue
			}
			forged := value[:i] + string(c) + value[i+1:]
			r := request("GET")
			r.AddCookie(&http.Cookie{Name: "route", Value: forged})
			if name, _ := s.Choose(r); name != "" {
				t.Fatalf("with character %d changed it chose %q", i, name)
			}
		}
	}
}
