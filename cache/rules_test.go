package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

func TestRuleGivesLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		_, h := open(t, Options{Rules: Rules{Retention: func(_ *http.Request, _ Head, v Retention) Retention {
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

// TestRuleLifetimeIsForSuccess: what a rule gives does not keep errors.
func TestRuleLifetimeIsForSuccess(t *testing.T) {
	hour := func(_ *http.Request, _ Head, v Retention) Retention {
		if v.Store && !v.Stated {
			v.Fresh = time.Hour
		}
		return v
	}
	cases := map[string]struct {
		status    int
		field     string
		retention func(*http.Request, Head, Retention) Retention
		fresh     time.Duration
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
		"a rule for errors": {404, "", func(r *http.Request, h Head, v Retention) Retention {
			v = hour(r, h, v)
			v.ErrorFresh = time.Minute
			return v
		}, time.Minute},
		"a rule against errors":   {404, "", func(r *http.Request, h Head, v Retention) Retention { v = hour(r, h, v); v.ErrorFresh = -1; return v }, 0},
		"a rule that is stricter": {404, "", func(r *http.Request, h Head, v Retention) Retention { v.Fresh = time.Second; return v }, time.Second},
		"a rule that stores all": {500, "", func(r *http.Request, h Head, v Retention) Retention {
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
				_, h := open(t, Options{Grace: -1, Rules: Rules{Retention: c.retention}}, b)
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
func TestCookiesAreInTheKeyToTheByte(t *testing.T) {
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
	list := fields.Names(Analytics())
	for name, ours := range map[string]bool{
		"_ga": true, "_ga_ABC123": true, "_gid": true, "_fbp": true, "_pk_id.1.1fff": true,
		"PHPSESSID": false, "cart": false, "_gallery": false, "frontend": false, "woocommerce_cart_hash": false,
		"X-Magento-Vary": false, "sw-cache-hash": false, "wordpress_logged_in_1": false, "currency": false, "_gcart": false,
	} {
		if list.Match(name) != ours {
			t.Errorf("%q: want %t", name, ours)
		}
	}
}

// Fields that hold tags are taken off every response, also for who gets more of it
// than others.
func TestStripIsForAll(t *testing.T) {
	for name, header := range map[string]http.Header{
		"stored":                    {"Cache-Control": {"max-age=60"}},
		"not stored":                {"Cache-Control": {"no-store"}},
		"some of it is private":     {"Cache-Control": {`max-age=60, private="X-Mine"`}, "X-Mine": {"1"}},
		"a part of unknown place":   {"Cache-Control": {"max-age=60"}, "Content-Range": {"bytes 0-1/*"}},
		"a part of another's place": {"Cache-Control": {"max-age=60"}, "Content-Range": {"bytes 0-1/10"}},
	} {
		t.Run(name, func(t *testing.T) {
			header.Set("Cache-Tag", "t")
			b := &backend{header: header, answer: func(w http.ResponseWriter, r *http.Request, _ int) {
				if header["Content-Range"] != nil {
					w.Header().Set("Content-Length", "2")
					w.WriteHeader(206)
				}
				fmt.Fprint(w, "01")
			}}
			_, h := open(t, Options{}, b)
			if w := get(h, "http://a.example/", "Range", "bytes=0-1"); w.Header()["Cache-Tag"] != nil {
				t.Errorf("got %v", w.Header())
			}
			if w := get(h, "http://a.example/whole"); w.Header()["Cache-Tag"] != nil {
				t.Errorf("got %v", w.Header())
			}
		})
	}
}

// TestRuleStripsSetCookie: the law says whether that is all that is in the way; what
// is not stored keeps its cookie.
func TestRuleStripsSetCookie(t *testing.T) {
	rules := Rules{Retention: func(_ *http.Request, _ Head, v Retention) Retention {
		if v.SetsCookie {
			v.Store, v.Strip = true, append(v.Strip, "Set-Cookie")
		}
		return v
	}}
	cases := map[string]struct {
		rules   Rules
		control string
		fields  []string // of the request
		status  int
		stored  bool
	}{
		"no rule":                      {Rules{}, "max-age=60", nil, 200, false},
		"a rule":                       {rules, "max-age=60", nil, 200, true},
		"private":                      {rules, "private, max-age=60", nil, 200, false},
		"no-store":                     {rules, "no-store", nil, 200, false},
		"without a lifetime":           {rules, "public", nil, 200, false},
		"asked for with a cookie":      {rules, "max-age=60", []string{"Cookie", "a=b"}, 200, false},
		"public":                       {rules, "public, max-age=60", []string{"Cookie", "a=b"}, 200, true},
		"asked for with Authorization": {rules, "max-age=60", []string{"Authorization", "Basic eA=="}, 200, false},
		"an error of a visitor's":      {rules, "public, max-age=60", []string{"Cookie", "a=b"}, 404, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
				w.Header().Set("Cache-Control", c.control)
				w.Header().Set("Set-Cookie", "id=1")
				w.WriteHeader(c.status)
			}}
			_, h := open(t, Options{Rules: c.rules}, b)
			for range 2 {
				w := get(h, "http://a.example/", c.fields...)
				if got := w.Header()["Set-Cookie"] == nil; got != c.stored {
					t.Errorf("without Set-Cookie: %t, want %t (%v)", got, c.stored, w.Header())
				}
			}
			if n := b.calls.Load(); (n == 1) != c.stored {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// TestRuleSaysWhatClientsAreTold of how long they may keep a page, stored or not,
// whoever is asked; how long the cache keeps it stays what the backend said.
func TestRuleSaysWhatClientsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := Rules{Retention: func(_ *http.Request, head Head, v Retention) Retention {
			if strings.Contains(head.Header.Get("Content-Type"), "html") {
				v.Downstream = "no-store"
			}
			return v
		}}
		b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
			h := w.Header()
			h.Set("Cache-Control", "public, max-age=60")
			h.Set("Cdn-Cache-Control", "max-age=60")
			h.Set("Expires", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
			h.Set("Content-Type", "text/html")
			switch r.URL.Path {
			case "/once":
				h.Set("Cache-Control", "no-cache, max-age=60")
			case "/own":
				h.Set("Set-Cookie", "id=1")
			case "/picture":
				h.Set("Content-Type", "image/png")
			}
			fmt.Fprintf(w, "answer %d", n)
		}}
		_, h := open(t, Options{Rules: rules}, b)
		for range 3 {
			for _, path := range []string{"/", "/once", "/own"} {
				w := get(h, "http://a.example"+path)
				if got := w.Header(); got.Get("Cache-Control") != "no-store" || got["Expires"] != nil || got["Cdn-Cache-Control"] != nil {
					t.Errorf("%s: %v", path, got)
				}
			}
			if got := get(h, "http://a.example/picture").Header(); got.Get("Cache-Control") != "public, max-age=60" || got["Expires"] == nil {
				t.Errorf("a picture: %v", got)
			}
		}
		for _, path := range []string{"/", "/not-stored-yet"} {
			if got := do(h, httptest.NewRequest("HEAD", "http://a.example"+path, nil)).Header(); got.Get("Cache-Control") != "no-store" || got["Cdn-Cache-Control"] != nil {
				t.Errorf("HEAD %s: %v", path, got)
			}
		}
		want(t, get(h, "http://a.example/"), 200, "answer 1")
		time.Sleep(59 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	})
}

// TestAnswerSaysThatItIsOfAnotherKey: a rule sees the key, of a refresh too.
func TestAnswerSaysThatItIsOfAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := Rules{
			Plan: func(r *http.Request) Plan { return Plan{Key: []string{r.Header.Get("X-Group")}} },
			Retention: func(_ *http.Request, head Head, v Retention) Retention {
				if head.Key[0] != head.Header.Get("X-Group") {
					v.Store, v.Why = false, "of another group"
				}
				return v
			},
		}
		b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=600")
			w.Header().Set("X-Group", r.Header.Get("X-Session"))
			fmt.Fprintf(w, "%s %d", r.Header.Get("X-Session"), n)
		}}
		c, h := open(t, Options{Rules: rules}, b)
		want(t, get(h, "http://a.example/", "X-Group", "a", "X-Session", "a"), 200, "a 1")
		want(t, get(h, "http://a.example/", "X-Group", "a"), 200, "a 1")
		time.Sleep(61 * time.Second)
		want(t, get(h, "http://a.example/", "X-Group", "a"), 200, "a 1") // refreshed by one who is in no group
		synctest.Wait()
		want(t, get(h, "http://a.example/", "X-Group", "a"), 200, "a 1")
		// What nobody in particular was told is in nobody's way.
		if _, err := c.Invalidate(t.Context(), Invalidation{All: true, Hard: true}); err != nil {
			t.Fatal(err)
		}
		want(t, get(h, "http://a.example/", "X-Group", "a", "X-Session", "a"), 200, "a 3")
		want(t, get(h, "http://a.example/", "X-Group", "a"), 200, "a 3")
	})
}

// TestLifetimesByStatus: for what states none; of errors too, and of what nobody would
// guess one for. Nothing else that is in the way of storing is overlooked.
func TestLifetimesByStatus(t *testing.T) {
	lifetimes := map[int]time.Duration{200: time.Minute, 302: time.Hour, 404: 30 * time.Second, 500: 5 * time.Second, 403: time.Minute, 410: 0}
	cases := map[string]struct {
		status int
		field  string // of the response
		cookie bool
		fresh  time.Duration
	}{
		"200":             {200, "", false, time.Minute},
		"302":             {302, "", false, time.Hour},
		"404":             {404, "", false, 30 * time.Second},
		"500":             {500, "", false, 5 * time.Second},
		"403":             {403, "", false, 0}, // anybody can bring it about
		"410":             {410, "", false, 0},
		"307":             {307, "", false, 0},
		"301":             {301, "", false, 0}, // no heuristic finds one
		"stated":          {200, "Cache-Control: max-age=7", false, 7 * time.Second},
		"no-cache":        {200, "Cache-Control: no-cache", false, 0},
		"private":         {200, "Cache-Control: private", false, 0},
		"sets a cookie":   {200, "Set-Cookie: a=b", false, 0},
		"of a visitor":    {200, "", true, 0},
		"long unchanged":  {200, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", false, time.Minute},
		"error by itself": {500, "Cache-Control: max-age=3", false, 3 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
					if field, value, ok := strings.Cut(c.field, ": "); ok {
						w.Header().Set(field, value)
					}
					w.WriteHeader(c.status)
				}}
				_, h := open(t, Options{Lifetimes: lifetimes, Grace: -1, ErrorGrace: -1, Keep: -1}, b)
				var fields []string
				if c.cookie {
					fields = []string{"Cookie", "a=b"}
				}
				get(h, "http://a.example/", fields...)
				if c.fresh > 0 {
					time.Sleep(c.fresh - time.Millisecond)
					get(h, "http://a.example/", fields...)
					if n := b.calls.Load(); n != 1 {
						t.Fatalf("%d calls before its end", n)
					}
				}
				time.Sleep(2 * time.Millisecond)
				get(h, "http://a.example/", fields...)
				if n := b.calls.Load(); n != 2 {
					t.Errorf("%d calls after it", n)
				}
			})
		})
	}
	for _, status := range []int{0, 103, 206, 304, 600} {
		if _, err := New(Options{Lifetimes: map[int]time.Duration{status: time.Minute}}); err == nil {
			t.Errorf("a lifetime of %d", status)
		}
	}
}

// TestIgnoreNoStore: what a reload gets is everybody's, if the operator says so.
func TestIgnoreNoStore(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{IgnoreNoStore: ignore}, b)
		for range 3 {
			get(h, "http://a.example/", "Cache-Control", "no-store")
		}
		if n := b.calls.Load(); (n == 1) != ignore {
			t.Errorf("%t: %d calls", ignore, n)
		}
		steps := fmt.Sprint(h.(*handler).Explain(httptest.NewRequest("GET", "http://b.example/", nil)).Steps)
		r := httptest.NewRequest("GET", "http://b.example/", nil)
		r.Header.Set("Cache-Control", "no-store")
		if got := fmt.Sprint(h.(*handler).Explain(r).Steps) == steps; got != ignore {
			t.Errorf("%t: it is explained: %t", ignore, !got)
		}
	}
}

// TestPlanShared: visitors with cookies wait for one another's fetch, and each gets an
// answer of its own if that is one's alone, all of them at once.
func TestPlanShared(t *testing.T) {
	for name, c := range map[string]struct {
		shared  bool
		control string
		calls   int32
		took    time.Duration // the first time
		again   time.Duration // the second
	}{
		"shared":                    {true, "public, max-age=60", 1, time.Second, 0},
		"shared and private":        {true, "private", 10, 2 * time.Second, time.Second},
		"shared and not for cookie": {true, "max-age=60", 10, 2 * time.Second, 2 * time.Second},
		"not shared":                {false, "public, max-age=60", 10, time.Second, 0},
		"not shared and private":    {false, "private", 10, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
					time.Sleep(time.Second)
					w.Header().Set("Cache-Control", c.control)
					fmt.Fprint(w, r.Header.Get("Cookie"))
				}}
				_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Shared: c.shared} }}}, b)
				for _, want := range []time.Duration{c.took, c.again} {
					begun, longest := time.Now(), atomic.Int64{}
					for i := range 10 {
						go func() {
							cookie := fmt.Sprint("id=", i)
							if w := get(h, "http://a.example/", "Cookie", cookie); c.calls == 10 && want > 0 && w.Body.String() != cookie {
								t.Errorf("%s gets %q", cookie, w.Body)
							}
							longest.Store(max(longest.Load(), int64(time.Since(begun))))
						}()
					}
					time.Sleep(30 * time.Second)
					if took := time.Duration(longest.Load()); took != want {
						t.Errorf("it took %v, want %v", took, want)
					}
					if want == c.took {
						if n := b.calls.Swap(0); n != c.calls {
							t.Errorf("%d calls, want %d", n, c.calls)
						}
					}
				}
			})
		})
	}
}
