package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// backend answers with its count, and whatever header the test gives.
type backend struct {
	calls  atomic.Int32
	header http.Header
	answer func(w http.ResponseWriter, r *http.Request, n int)
	sick   atomic.Bool
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(b.calls.Add(1))
	for name, values := range b.header {
		w.Header()[name] = values
	}
	if b.answer != nil {
		b.answer(w, r, n)
		return
	}
	fmt.Fprintf(w, "answer %d", n)
}

func (b *backend) Healthy(*http.Request) bool { return !b.sick.Load() }

func control(value string) http.Header { return http.Header{"Cache-Control": {value}} }

// open returns the backend behind a cache that ends with the test.
func open(t testing.TB, opts Options, b http.Handler) (*Cache, http.Handler) {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.Handler(b)
}

// get asks h; header are name, value pairs.
func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return do(h, r)
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got %d %q, want %d %q (%v)", w.Code, w.Body, status, body, w.Header())
	}
}

func TestFreshHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		w := get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if got := w.Header().Get("Cache-Status"); got != "Foretier; fwd=uri-miss; fwd-status=200; stored" {
			t.Errorf("Cache-Status of a miss: %s", got)
		}
		time.Sleep(7 * time.Second)
		w = get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if w.Header().Get("Age") != "7" || w.Header().Get("Cache-Status") != "Foretier; hit; ttl=53" {
			t.Errorf("header of a hit: %v", w.Header())
		}
		if got := w.Header().Get("Content-Length"); got != "8" {
			t.Errorf("Content-Length: %q", got)
		}
		time.Sleep(54 * time.Second)
		want(t, get(h, "http://a.example/x"), 200, "answer 2")
	})
}

func TestNothingStatedNothingStored(t *testing.T) {
	b := &backend{}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 2")
}

func TestRuleGivesLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		_, h := open(t, Options{Rules: Rules{Verdict: func(_ *http.Request, _ Head, v Verdict) Verdict {
			if v.Store && !v.Stated {
				v.Fresh = time.Minute
			}
			return v
		}}}, b)
		get(h, "http://a.example/")
		want(t, get(h, "http://a.example/"), 200, "answer 1")
		time.Sleep(61 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 1") // within the grace of 10 s
		synctest.Wait()
		want(t, get(h, "http://a.example/"), 200, "answer 2")
		time.Sleep(71 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 3")
	})
}

func TestMissesAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			fmt.Fprintf(w, "answer %d", n)
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
			io.WriteString(w, " and the end")
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "answer 1 and the end") })
		}
		wg.Wait()
		if n := b.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestVary(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}},
		answer: func(w http.ResponseWriter, r *http.Request, n int) {
			fmt.Fprintf(w, "%s %d", r.Header.Get("Accept-Language"), n)
		}}
	_, h := open(t, Options{}, b)
	want(t, get(h, "http://a.example/", "Accept-Language", "de"), 200, "de 1")
	want(t, get(h, "http://a.example/", "Accept-Language", "en"), 200, "en 2")
	want(t, get(h, "http://a.example/", "Accept-Language", "DE"), 200, "de 1")
	want(t, get(h, "http://a.example/"), 200, " 3")
	want(t, get(h, "http://a.example/", "Accept-Language", "en"), 200, "en 2")
}

func TestGraceRefreshesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10, stale-while-revalidate=30"),
			answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				time.Sleep(time.Second)
				fmt.Fprintf(w, "answer %d", n)
			}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(11 * time.Second)
		begun := time.Now()
		for range 5 {
			want(t, get(h, "http://a.example/"), 200, "answer 1")
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited %v for a refresh", d)
		}
		time.Sleep(2 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 2")
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestStaleOnError(t *testing.T) {
	failures := map[string]func(w http.ResponseWriter, r *http.Request){
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"the tier's own error": func(w http.ResponseWriter, r *http.Request) {
			transit.Fail(w, r, 502, errors.New("refused"))
		},
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 1 {
						fail(w, r)
						return
					}
					w.Header().Set("Cache-Control", "max-age=10")
					io.WriteString(w, "good")
				}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Hour)
				want(t, get(h, "http://a.example/"), 200, "good")
				time.Sleep(24 * time.Hour)
				func() {
					defer func() { _ = recover() }()
					if w := get(h, "http://a.example/"); w.Code < 500 {
						t.Errorf("after ErrorGrace: got %d %s", w.Code, w.Body)
					}
				}()
			})
		})
	}
}

func TestSickBackendLengthensGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10")}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Hour)
		b.sick.Store(true)
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}}}
		c, h := open(t, Options{}, b)
		purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		fill := func() {
			get(h, "http://a.example/x")
			get(h, "http://a.example/x", "Accept-Language", "de")
			get(h, "https://a.example/x")
			get(h, "http://a.example/y")
		}
		fill()
		r := httptest.NewRequest("PURGE", "http://a.example/x", nil)
		r.RemoteAddr = "192.0.2.7:1"
		if w := do(purge, r); w.Code != 200 {
			t.Fatalf("PURGE: %d %s", w.Code, w.Body)
		}
		fill()
		if n := b.calls.Load(); n != 7 { // 4, and 3 again
			t.Errorf("%d calls after a hard purge", n)
		}
		r.Header.Set("Soft-Purge", "1")
		do(purge, r)
		fill()
		synctest.Wait()
		if n := b.calls.Load(); n != 10 {
			t.Errorf("%d calls after a soft purge", n)
		}
		do(purge, r)
		time.Sleep(11 * time.Second)
		if w := get(h, "http://a.example/x"); !strings.HasPrefix(w.Body.String(), "answer 1") || w.Body.String() == "answer 1" {
			t.Errorf("longer than 10 s after a soft purge: %s", w.Body)
		}
		r.RemoteAddr = "203.0.113.1:1"
		if w := do(purge, r); w.Code != 403 {
			t.Errorf("a stranger's PURGE: %d", w.Code)
		}
		r.RemoteAddr = "192.0.2.7:1"
		r.Method = "GET"
		if w := do(purge, r); w.Code != 405 {
			t.Errorf("GET: %d", w.Code)
		}
	})
	c, _ := open(t, Options{}, &backend{})
	if _, err := c.PurgeHandler(nil); !errors.Is(err, ErrPurgeOpen) {
		t.Errorf("a purge handler for nobody: %v", err)
	}
}

func TestPurgeBeatsRunningFetch(t *testing.T) {
	for name, inv := range map[string]Invalidation{
		"URL":    {URL: "http://a.example/x", Hard: true},
		"host":   {Host: "a.example", Hard: true},
		"prefix": {PathPrefix: "/x", Hard: true},
		"all":    {All: true, Hard: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					fmt.Fprintf(w, "answer %d", n) // as of now
					time.Sleep(2 * time.Second)
				}}
				c, h := open(t, Options{}, b)
				go get(h, "http://a.example/x")
				time.Sleep(time.Second)
				if _, err := c.Invalidate(context.Background(), inv); err != nil {
					t.Fatal(err)
				}
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
				time.Sleep(3 * time.Second)
				want(t, get(h, "http://a.example/x"), 200, "answer 2")
			})
		})
	}
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/x")
	do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
	want(t, get(h, "http://a.example/x"), 200, "answer 3")
}

// TestUnknownMethodInvalidatesSoftly: anybody can send FOO, so it buys one
// fetch, and nobody waits for it.
func TestUnknownMethodInvalidatesSoftly(t *testing.T) {
	for method, hard := range map[string]bool{"FOO": false, "M-SEARCH": false, "PURGE": false, "post": false, "POST": true, "PATCH": true, "DELETE": true, "MOVE": true} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
					w.Header().Set("Content-Location", "/y")
					fmt.Fprint(w, r.Method, " ", r.URL.Path)
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/x")
				get(h, "http://a.example/y")
				for range 5 {
					do(h, httptest.NewRequest(method, "http://a.example/x", nil))
					for _, page := range []string{"/x", "/y"} {
						w := get(h, "http://a.example"+page)
						want(t, w, 200, "GET "+page)
						if stale := strings.Contains(w.Header().Get("Cache-Status"), "; hit"); stale == hard {
							t.Errorf("%s: %s", page, w.Header().Get("Cache-Status"))
						}
					}
					synctest.Wait()
				}
				if n := b.calls.Load(); n != 2+5+10 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

func TestCookies(t *testing.T) {
	cases := map[string]struct {
		cookie, control string
		want            string
	}{
		"a visitor's":          {"sid=1", "max-age=60", "answer 2"},
		"explicitly public":    {"sid=1", "public, max-age=60", "answer 1"},
		"s-maxage":             {"sid=1", "s-maxage=60", "answer 1"},
		"ignored":              {"_ga=1; _ga_X=2", "max-age=60", "answer 1"},
		"ignored and another":  {"_ga=1; sid=2", "max-age=60", "answer 2"},
		"the pool's own":       {"pin=1", "max-age=60", "answer 1"},
		"empty":                {"", "max-age=60", "answer 1"},
		"a name with no value": {"sid", "max-age=60", "answer 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control(c.control)}
			_, h := open(t, Options{IgnoreCookies: []string{"_ga*"}}, pinning{b})
			get(h, "http://a.example/", "Cookie", c.cookie)
			want(t, get(h, "http://a.example/"), 200, c.want)
			want(t, get(h, "http://a.example/", "Cookie", "sid=9"), 200, c.want)
		})
	}
}

type pinning struct{ *backend }

func (pinning) OwnsCookie(name string) bool { return name == "pin" }

func TestSetCookieIsNotShared(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"public, max-age=60"}, "Set-Cookie": {"sid=1"}}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	w := get(h, "http://a.example/")
	want(t, w, 200, "answer 2")
	if got := w.Header().Get("Cache-Status"); got != `Foretier; fwd=uri-miss; fwd-status=200; detail="not to be stored lately"` {
		t.Errorf("Cache-Status: %s", got)
	}
}

func TestBadOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"name": {Name: "a b"}, "small": {MaxBytes: 1}, "body": {MaxBody: -1}, "wait": {Wait: -1}, "fetch": {Fetch: -1}, "orders": {Orders: make([]netip.Prefix, 1)},
		"orders of both families": {Orders: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/90")}},
	} {
		if _, err := New(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTags(t *testing.T) {
	for field, value := range map[string]string{
		"Cache-Tag": "product-5, catalogue", "Surrogate-Key": "product-5 catalogue",
		"Xkey": "catalogue product-5", "X-Magento-Tags": "catalogue,product-5",
	} {
		t.Run(field, func(t *testing.T) {
			b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, field: {value}}}
			c, h := open(t, Options{}, b)
			for range 2 {
				if w := get(h, "http://a.example/"); w.Header()[field] != nil {
					t.Errorf("the client sees the tags: %v", w.Header())
				}
			}
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 1")
			if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"other", "product-5"}, Hard: true}); err != nil {
				t.Fatal(err)
			}
			want(t, get(h, "http://a.example/"), 200, "answer 2")
		})
	}
}

func TestDepends(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		Depends(r.Context(), "product:42")
		fmt.Fprintf(w, "answer %d", n)
	}}
	c, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 1")
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"product:42"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 2")
	Depends(context.Background(), "x") // nothing happens
}

func TestFailureIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 1 {
				w.WriteHeader(503)
				return
			}
			w.Header().Set("Cache-Control", "max-age=10")
			io.WriteString(w, "good")
		}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Minute)
		for range 100 {
			want(t, get(h, "http://a.example/"), 200, "good")
			time.Sleep(50 * time.Millisecond)
		}
		if n := b.calls.Load(); n < 5 || n > 7 {
			t.Errorf("%d calls in 5 s", n)
		}
	})
}

func TestEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(500 * time.Millisecond)
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		for range 10_000 {
			if w := get(h, "http://a.example/"); !strings.Contains(w.Header().Get("Cache-Status"), "; hit") {
				t.Fatalf("a visitor waited: %v", w.Header())
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := b.calls.Load(); n < 4 || n > 6 {
			t.Errorf("%d calls in 200 s", n)
		}
	})
}

func TestAuthorizationGetsOnlyWhatIsForAll(t *testing.T) {
	for value, shared := range map[string]bool{"max-age=60": false, "max-age=60, public": true, "s-maxage=60": true} {
		b := &backend{header: control(value)}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		get(h, "http://a.example/", "Authorization", "Bearer x")
		if one := b.calls.Load() == 1; one != shared {
			t.Errorf("%s: shared: %t", value, one)
		}
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	}
}

func TestCacheGroups(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Cache-Groups": {`"news", "sports"`}}}
	b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
		if r.URL.Path == "/change" {
			w.Header().Set("Cache-Group-Invalidation", `"sports"`)
		}
		fmt.Fprint(w, n)
	}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	get(h, "http://b.example/")
	get(h, "http://a.example/change") // a safe method does not invalidate
	want(t, get(h, "http://a.example/"), 200, "1")
	do(h, httptest.NewRequest("POST", "http://a.example/change", nil))
	want(t, get(h, "http://a.example/"), 200, "5")
	want(t, get(h, "http://b.example/"), 200, "2") // another origin
}

func TestRefreshesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		b := &backend{header: control("max-age=10, stale-while-revalidate=600"), answer: func(http.ResponseWriter, *http.Request, int) {
			n := running.Add(1)
			most.Store(max(n, most.Load()))
			time.Sleep(time.Second)
			running.Add(-1)
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { get(h, fmt.Sprint("http://a.example/", i)) })
		}
		wg.Wait()
		most.Store(0)
		time.Sleep(20 * time.Second)
		for i := range 100 {
			get(h, fmt.Sprint("http://a.example/", i))
		}
		time.Sleep(5 * time.Second)
		if n := most.Load(); n != 16 {
			t.Errorf("%d refreshes at once", n)
		}
	})
}

// everybody's orders are obeyed.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// TestOrdersOfVisitors: a reload buys no backend's work and replaces no page,
// but for those who may say so.
func TestOrdersOfVisitors(t *testing.T) {
	orders := [][]string{
		{"Cache-Control", "no-cache"}, {"Cache-Control", "max-age=0"}, {"Cache-Control", "NO-CACHE, max-age=0"}, {"Pragma", "no-cache"},
		{"Cache-Control", "only-if-cached"}, {"Cache-Control", "min-fresh=3600"}, {"Cache-Control", "no-store"}, {"Cache-Control", "max-stale"},
	}
	for _, order := range orders {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{header: control("max-age=60, stale-while-revalidate=30"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
				fmt.Fprintf(w, "%d %s%s", n, r.Header.Get("Cache-Control"), r.Header.Get("Pragma"))
			}}
			_, h := open(t, Options{Orders: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")}}, b)
			ask := func(from string) *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "http://a.example/", nil)
				r.RemoteAddr = from + ":1"
				r.Header.Set(order[0], order[1])
				return do(h, r)
			}
			want(t, ask("203.0.113.1"), 200, "1 ")
			if order[1] != "no-store" { // it keeps its own answer out
				want(t, get(h, "http://a.example/"), 200, "1 ")
			}
			b.answer = nil
			page := get(h, "http://a.example/").Body.String()
			want(t, ask("203.0.113.1"), 200, page)
			calls := b.calls.Load()
			time.Sleep(time.Second)
			switch order[1] {
			case "only-if-cached", "no-store", "max-stale": // what is fresh will do
				want(t, ask("192.0.2.1"), 200, page)
			default:
				ask("192.0.2.1")
				if b.calls.Load() != calls+1 {
					t.Errorf("%s: not obeyed", order)
				}
			}
			time.Sleep(120 * time.Second) // past it
			calls = b.calls.Load()
			want(t, ask("203.0.113.1"), 200, fmt.Sprint("answer ", calls+1))
		})
	}
}

func TestOnlyIfCached(t *testing.T) {
	b := &backend{header: control("max-age=10")}
	_, h := open(t, Options{Orders: everybody}, b)
	if w := get(h, "http://a.example/", "Cache-Control", "only-if-cached"); w.Code != 504 || b.calls.Load() != 0 {
		t.Errorf("got %d", w.Code)
	}
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/", "Cache-Control", "only-if-cached"), 200, "answer 1")
}

func TestValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Etag", `"a"`)
			w.Header().Set("X-Count", fmt.Sprint(n))
			switch {
			case n > 2 && r.Header.Get("If-None-Match") != "":
				w.Header().Set("Etag", `"b"`) // of something else
				w.WriteHeader(304)
			case r.Header.Get("If-None-Match") == `"a"`:
				w.WriteHeader(304)
			default:
				fmt.Fprintf(w, "answer %d", n)
			}
		}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Minute)
		w := get(h, "http://a.example/")
		want(t, w, 200, "answer 1")
		if w.Header().Get("X-Count") != "2" {
			t.Errorf("the 304's fields are not in the answer: %v", w.Header())
		}
		want(t, get(h, "http://a.example/"), 200, "answer 1")
		time.Sleep(time.Minute)
		want(t, get(h, "http://a.example/", "If-None-Match", `"a"`), 200+104, "") // asked anew without conditions: answer 4, still "a"
		want(t, get(h, "http://a.example/"), 200, "answer 4")
		if n := b.calls.Load(); n != 4 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestHeadChangesNothing: what a HEAD brings may show what only that one sent,
// and says nothing that a GET would not say better.
func TestHeadChangesNothing(t *testing.T) {
	for name, change := range map[string]func(h http.Header){
		"what it reflects":   func(http.Header) {},
		"another body":       func(h http.Header) { h.Set("Etag", `"b"`) },
		"another length":     func(h http.Header) { h.Set("Content-Length", "1") },
		"no lifetime":        func(h http.Header) { h.Set("Cache-Control", "no-store") },
		"a longer lifetime":  func(h http.Header) { h.Set("Cache-Control", "max-age=3600") },
		"a cookie":           func(h http.Header) { h.Set("Set-Cookie", "sid=1") },
		"the page not there": func(h http.Header) { h.Set("X-Status", "410") },
	} {
		for _, age := range []time.Duration{time.Second, 15 * time.Second, time.Minute} { // fresh, in grace, stale
			t.Run(fmt.Sprint(name, age), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &backend{header: http.Header{"Cache-Control": {"max-age=10, stale-while-revalidate=20"}, "Etag": {`"a"`}}}
					b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
						w.Header().Set("X-Query", r.URL.RawQuery)
						if r.Method == "HEAD" {
							change(w.Header())
							if w.Header().Get("X-Status") != "" {
								w.WriteHeader(410)
							}
							return
						}
						if r.Header.Get("If-None-Match") != "" {
							w.WriteHeader(304)
							return
						}
						io.WriteString(w, "page")
					}
					_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
					get(h, "http://a.example/")
					time.Sleep(age)
					do(h, httptest.NewRequest("HEAD", "http://a.example/?utm_source=evil", nil))
					synctest.Wait()
					w := get(h, "http://a.example/")
					want(t, w, 200, "page")
					if w.Header().Get("X-Query") != "" || w.Header().Get("Etag") != `"a"` || w.Header().Get("Set-Cookie") != "" || !strings.HasPrefix(w.Header().Get("Cache-Control"), "max-age=10,") {
						t.Errorf("the page has what the HEAD brought: %v", w.Header())
					}
				})
			})
		}
	}
}

func TestPostThatIsAGet(t *testing.T) {
	for location, want := range map[string]string{
		"/x": "answer 2", "http://a.example/x": "answer 2", "": "answer 2",
		"/y": "answer 3", "http://b.example/x": "answer 3", "https://a.example/x": "answer 3",
	} {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Content-Location": {location}}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/x")
		do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
		if w := get(h, "http://a.example/x"); w.Body.String() != want {
			t.Errorf("Content-Location %q: got %s, want %s", location, w.Body, want)
		}
	}
}

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

func TestPrivateFieldsAreForOne(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {`max-age=60, private="X-Visitor", no-cache="X-Other"`}, "X-Visitor": {"1"}, "X-Other": {"2"}, "X-All": {"3"}}}
	_, h := open(t, Options{}, b)
	w := get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["X-Visitor"], w.Header()["X-Other"], w.Header()["X-All"]); got != "[1] [2] [3]" {
		t.Errorf("the one who asked: %s", got)
	}
	w = get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["X-Visitor"], w.Header()["X-Other"], w.Header()["X-All"]); got != "[] [] [3]" {
		t.Errorf("the next: %s", got)
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

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60, stale-while-revalidate=10")}
		c, h := open(t, Options{Rules: Rules{Plan: func(r *http.Request) Plan {
			return Plan{Pass: r.URL.Path == "/cart", Why: "the cart"}
		}}}, b)
		explain := func(method, url string) string {
			d := h.(health.Explainer).Explain(httptest.NewRequest(method, url, nil))
			return d.Verdict + ": " + d.Why
		}
		check := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		check(explain("POST", "http://a.example/"), "pass: method")
		check(explain("GET", "http://a.example/cart"), "pass: rule: the cart")
		check(explain("GET", "http://a.example/"), "miss: nothing stored matches")
		get(h, "http://a.example/")
		check(explain("GET", "http://a.example/"), "hit: ")
		time.Sleep(65 * time.Second)
		check(explain("GET", "http://a.example/"), "hit: stale within grace, refreshed meanwhile")
		time.Sleep(10 * time.Second)
		check(explain("GET", "http://a.example/"), "miss: stale")
		b.sick.Store(true)
		check(explain("GET", "http://a.example/"), "hit: stale, and the backend is sick")
		if n := b.calls.Load(); n != 1 {
			t.Errorf("%d calls: Explain asked the backend", n)
		}
		if r := c.Report(); r.Kind != "cache" || len(r.Metrics) == 0 {
			t.Errorf("Report: %+v", r)
		}
	})
}

func TestBadInvalidations(t *testing.T) {
	c, _ := open(t, Options{}, &backend{})
	for name, inv := range map[string]Invalidation{
		"nothing": {}, "only hard": {Hard: true}, "two": {All: true, Host: "a"}, "tags and URL": {Tags: []string{"a"}, URL: "http://a/"},
		"relative URL": {URL: "/a"}, "no URL": {URL: "http://a b"}, "prefix without slash": {PathPrefix: "a"},
		"another scheme": {URL: "ftp://a/b"}, "an empty tag": {Tags: []string{"a", ""}},
		"a query in a prefix": {PathPrefix: "/a?b"}, "a fragment in a prefix": {PathPrefix: "/a#b"},
		"a scheme in a host": {Host: "https://a"}, "a path in a host": {Host: "a/b"}, "a pattern in a host": {Host: "*.a"}, "only a port": {Host: ":80"},
		"two hosts": {Host: "a, b"}, "two ports": {Host: "a:1:2"},
		"a host that no client sends": {Host: "bücher.example"}, "a URL of one": {URL: "http://bücher.example/"},
	} {
		if done, err := c.Invalidate(t.Context(), Invalidation{All: true}, inv); err == nil || done != (Invalidated{}) {
			t.Errorf("%s: %+v %v", name, done, err)
		}
	}
	if n := c.log.head(); n != 0 {
		t.Errorf("%d were applied", n)
	}
	first, err := c.Invalidate(t.Context(), Invalidation{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := c.Invalidate(t.Context(), Invalidation{Host: "a"}); err != nil || second.Position <= first.Position {
		t.Errorf("positions do not grow: %+v, %+v, %v", first, second, err)
	}
}

func TestPathPrefix(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	c, h := open(t, Options{}, b)
	for _, path := range []string{"/a", "/a/b", "/a?x", "/ab", "/b/a"} {
		get(h, "http://a.example"+path)
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Host: "A.example", PathPrefix: "/a/", Hard: true}); err != nil {
		t.Fatal(err)
	}
	if n := c.store.Stats().Count; n != 2 {
		t.Errorf("%d are left, want /ab and /b/a", n)
	}
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

func TestDefaults(t *testing.T) {
	opts, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(opts.Name, opts.MaxBytes>>20, opts.MaxBody>>20, opts.Grace, opts.ErrorGrace, opts.Keep, opts.Wait, opts.Fetch)
	if want := "Foretier256 16 10s 24h0m0s 5m0s 10s 1m0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	opts, err = Options{Grace: -1, ErrorGrace: -1, Keep: -1, MaxBytes: 32 << 20}.withDefaults()
	if err != nil || opts.Grace != 0 || opts.ErrorGrace != 0 || opts.Keep != 0 || opts.MaxBody != 2<<20 {
		t.Errorf("negative means never: %+v, %v", opts, err)
	}
}

func TestLogNotes(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	for _, want := range []string{"miss: stored", "hit", "pass: method"} {
		ctx, rec := transit.With(t.Context())
		method := "GET"
		if want == "pass: method" {
			method = "POST"
		}
		do(h, httptest.NewRequestWithContext(ctx, method, "http://a.example/", nil))
		got := ""
		for part, v := range rec.Notes() {
			got += part + "=" + v.LogValue().String()
		}
		if got != "cache="+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParts(t *testing.T) {
	const whole = "0123456789"
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"a"`}}, answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	}}
	_, h := open(t, Options{}, b)
	part := func(spec, body, contentRange string, calls int) {
		t.Helper()
		w := get(h, "http://a.example/film", "Range", spec)
		want(t, w, 206, body)
		if got := w.Header().Get("Content-Range"); got != contentRange || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: %v", spec, w.Header())
		}
		if n := int(b.calls.Load()); n != calls {
			t.Errorf("%s: %d calls, want %d", spec, n, calls)
		}
	}
	part("bytes=2-6", "23456", "bytes 2-6/10", 1)
	part("bytes=2-6", "23456", "bytes 2-6/10", 1)
	part("bytes=3-4", "34", "bytes 3-4/10", 1)
	part("bytes=5-7", "567", "bytes 5-7/10", 2)
	part("bytes=-3", "789", "bytes 7-9/10", 3)
	part("bytes=8-", "89", "bytes 8-9/10", 3)
	want(t, do(h, httptest.NewRequest("HEAD", "http://a.example/film", nil)), 200, "")
	want(t, get(h, "http://a.example/film", "Range", "bytes=2-6", "If-Range", `"b"`), 200, whole)
	part("bytes=0-", whole, "bytes 0-9/10", 6) // that is the whole, and is stored as such
	want(t, get(h, "http://a.example/film"), 200, whole)
	part("bytes=1-1", "1", "bytes 1-1/10", 6)
}

func TestPartsThatAreNotStored(t *testing.T) {
	for name, c := range map[string]struct{ header, body string }{
		"no Content-Range":  {"", "234"},
		"unknown size":      {"bytes 2-4/*", "234"},
		"more than it says": {"bytes 2-4/10", "23456"},
		"nonsense":          {"bytes 4-2/10", "234"},
		"several":           {"bytes 2-4/10, bytes 6-7/10", "234"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
				if c.header != "" {
					w.Header().Set("Content-Range", c.header)
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(c.body)))
				w.WriteHeader(206)
				io.WriteString(w, c.body)
			}}
			cache, h := open(t, Options{}, b)
			for range 2 {
				want(t, get(h, "http://a.example/", "Range", "bytes=2-4"), 206, c.body)
			}
			if s := cache.store.Stats(); b.calls.Load() != 2 || s.Used != 0 {
				t.Errorf("%d calls, %+v", b.calls.Load(), s)
			}
		})
	}
}

func TestPlanCookies(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Cookie"}}, answer: func(w http.ResponseWriter, r *http.Request, n int) {
		fmt.Fprint(w, n, r.Header["Cookie"])
	}}
	_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan {
		return Plan{Cookies: []string{"currency", "group"}}
	}}}, pinning{b})
	want(t, get(h, "http://a.example/", "Cookie", "sid=1; currency=EUR; pin=a"), 200, "1 [currency=EUR; pin=a]")
	want(t, get(h, "http://a.example/", "Cookie", "sid=2; currency=EUR"), 200, "1 [currency=EUR; pin=a]")
	want(t, get(h, "http://a.example/", "Cookie", "sid=2; currency=USD"), 200, "2 [currency=USD]")
	want(t, get(h, "http://a.example/", "Cookie", "group=EUR"), 200, "3 [group=EUR]")
	want(t, get(h, "http://a.example/", "Cookie", "currency="), 200, "4 [currency=]")
	want(t, get(h, "http://a.example/"), 200, "5 []")
	want(t, get(h, "http://a.example/", "Cookie", "sid=3"), 200, "5 []")
}

// What net/http makes of a cookie is not what a backend makes of it: a value
// that it refuses is no missing one, and of two the backend may take either.
func TestPitfallCookieValuesOutsideTheKey(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		fmt.Fprint(w, r.Header["Cookie"])
	}}
	_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan {
		return Plan{Cookies: []string{"currency"}}
	}}}, b)
	for _, sent := range []string{
		`currency={"a":"<script>"}`, `currency=EUR; currency=USD`, `currency=USD; currency=EUR`,
		`currency=EUR`, `currency="EUR"`, `currency`, `currency=`,
	} {
		want(t, get(h, "http://a.example/", "Cookie", sent), 200, "["+sent+"]")
	}
	want(t, get(h, "http://a.example/"), 200, "[]")
}

func TestHasCookie(t *testing.T) {
	for sent, wanted := range map[string]bool{
		"": false, "cart=": true, "cart": true, `a=1; cart={"sku":1}`: true, "login_7=x": true, "Cart=1": false, "xcart=1": false, "a=cart": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", sent)
		if got := HasCookie(r, "cart", "login_*"); got != wanted {
			t.Errorf("%q: got %t", sent, got)
		}
	}
	if HasCookie(httptest.NewRequest("GET", "/", nil), "cart") {
		t.Error("no cookie is one")
	}
}

// Analytics must not hit a cookie by which shops know their visitors.
func TestAnalytics(t *testing.T) {
	list := names(Analytics())
	for name, ours := range map[string]bool{
		"_ga": true, "_ga_ABC123": true, "_gid": true, "_fbp": true, "_pk_id.1.1fff": true,
		"PHPSESSID": false, "cart": false, "_gallery": false, "frontend": false, "woocommerce_cart_hash": false,
		"X-Magento-Vary": false, "sw-cache-hash": false, "wordpress_logged_in_1": false, "currency": false, "_gcart": false,
	} {
		if list.match(name) != ours {
			t.Errorf("%q: want %t", name, ours)
		}
	}
}

// A request that was looked up before a fetch ended, and joins after it, finds
// what the fetch stored: else a busy machine renders a page twice.
func TestNoSecondFetchForWhoComesBetween(t *testing.T) {
	for name, control := range map[string]string{"fresh": "max-age=60", "to be validated": "max-age=60, no-cache"} {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: http.Header{"Cache-Control": {control}, "Etag": {`"a"`}}}
			_, served := open(t, Options{}, b)
			h := served.(*handler)
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			read, url := h.read(r, nil)
			between := read.keep(url)
			want(t, get(h, "http://a.example/"), 200, "answer 1")
			w := httptest.NewRecorder()
			h.miss(w, between, nil, decide(between.situation(nil, url)))
			if control == "max-age=60" {
				want(t, w, 200, "answer 1")
			} else {
				want(t, w, 200, "answer 2")
			}
		})
	}
}

// A canary's pages do not mix with the others', and a purge takes both.
func TestSpaces(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	c, h := open(t, Options{}, b)
	ask := func(space, body string) {
		t.Helper()
		ctx, rec := transit.With(t.Context())
		rec.Space = space
		want(t, do(h, httptest.NewRequestWithContext(ctx, "GET", "http://a.example/", nil)), 200, body)
	}
	ask("", "answer 1")
	ask("canary", "answer 2")
	ask("", "answer 1")
	ask("canary", "answer 2")
	if _, err := c.Invalidate(t.Context(), Invalidation{URL: "http://a.example/", Hard: true}); err != nil {
		t.Fatal(err)
	}
	ask("", "answer 3")
	ask("canary", "answer 4")
}

// TestRuleLifetimeIsForSuccess: what a rule gives does not keep errors.
func TestRuleLifetimeIsForSuccess(t *testing.T) {
	hour := func(_ *http.Request, _ Head, v Verdict) Verdict {
		if v.Store && !v.Stated {
			v.Fresh = time.Hour
		}
		return v
	}
	cases := map[string]struct {
		status  int
		field   string
		verdict func(*http.Request, Head, Verdict) Verdict
		fresh   time.Duration
	}{
		"200":                {200, "", hour, time.Hour},
		"204":                {204, "", hour, time.Hour},
		"301":                {301, "", hour, time.Hour},
		"404":                {404, "", hour, 10 * time.Second},
		"405":                {405, "", hour, 10 * time.Second},
		"410":                {410, "", hour, 10 * time.Second},
		"414":                {414, "", hour, 10 * time.Second},
		"501":                {501, "", hour, 10 * time.Second},
		"404 that states it": {404, "Cache-Control: max-age=60", hour, time.Minute},
		"410 by Expires":     {410, "Expires: +60", hour, time.Minute},
		"404 long unchanged": {404, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", nil, 10 * time.Second},
		"404 without any":    {404, "", nil, 0},
		"a rule for errors": {404, "", func(r *http.Request, h Head, v Verdict) Verdict {
			v = hour(r, h, v)
			v.ErrorFresh = time.Minute
			return v
		}, time.Minute},
		"a rule against errors":   {404, "", func(r *http.Request, h Head, v Verdict) Verdict { v = hour(r, h, v); v.ErrorFresh = -1; return v }, 0},
		"a rule that is stricter": {404, "", func(r *http.Request, h Head, v Verdict) Verdict { v.Fresh = time.Second; return v }, time.Second},
		"a rule that stores all": {500, "", func(r *http.Request, h Head, v Verdict) Verdict {
			v = hour(r, h, v)
			v.Store, v.Fresh = true, time.Hour
			return v
		}, 10 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
					if field, value, ok := strings.Cut(c.field, ": "); ok {
						if value == "+60" {
							value = time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
						}
						w.Header().Set(field, value)
					}
					w.WriteHeader(c.status)
				}}
				_, h := open(t, Options{Grace: -1, Rules: Rules{Verdict: c.verdict}}, b)
				get(h, "http://a.example/")
				time.Sleep(c.fresh - time.Millisecond)
				if get(h, "http://a.example/"); c.fresh > 0 && b.calls.Load() != 1 {
					t.Errorf("not stored for %v", c.fresh)
				}
				time.Sleep(2 * time.Millisecond)
				if get(h, "http://a.example/"); b.calls.Load() == 1 {
					t.Errorf("stored for longer than %v", c.fresh)
				}
			})
		})
	}
}

// TestManyRangesAreTheWhole: thousands of parts of a byte cost a part each.
func TestManyRangesAreTheWhole(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		io.WriteString(w, strings.Repeat("0123456789", 1000))
	}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	for value, status := range map[string]int{
		"bytes=0-0": 206, "bytes=0-0,2-2": 206, "bytes=" + strings.Repeat("0-0,", 15) + "0-0": 206,
		"bytes=" + strings.Repeat("0-0,", 16) + "0-0": 200, "bytes=" + strings.Repeat("0-0,", 7000) + "0-0": 200, "bytes=" + strings.Repeat(",", 7000) + "0-0": 200,
		"bytes=20000-": 416,
	} {
		w := get(h, "http://a.example/", "Range", value)
		if w.Code != status || status == 200 && (w.Body.Len() != 10000 || w.Header().Get("Content-Length") != "10000") {
			t.Errorf("%.20s...: got %d, %d bytes", value, w.Code, w.Body.Len())
		}
	}
}
