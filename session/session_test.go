package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

type handlers = map[string]func(http.ResponseWriter, *http.Request, *session.Session)

// TestMerge: two requests load the same session; what each does to it is saved,
// or is a conflict.
func TestMerge(t *testing.T) {
	errSold := errors.New("sold out")
	look := func(s *session.Session, key string) {
		if _, _, err := session.Value[int](s, key); err != nil {
			t.Errorf("Value: %v", err)
		}
	}
	increment := func(s *session.Session, key string) error {
		return session.Update(s, key, func(n int, _ bool) (int, error) { return n + 1, nil })
	}
	// Each case changes the session as loaded, with a=1 and b=1, while another
	// request increments a.
	cases := map[string]struct {
		do   func(*session.Session) error
		code int
		want string
	}{
		"another key": {func(s *session.Session) error { return s.Set("b", 5) }, 200, "a=2 b=5"},
		"set blindly": {func(s *session.Session) error { return s.Set("a", 5) }, 200, "a=5 b=1"},
		"look, then set": {func(s *session.Session) error {
			look(s, "a")
			return s.Set("a", 5)
		}, 409, "a=2 b=1"},
		"look, then delete": {func(s *session.Session) error {
			look(s, "a")
			return s.Delete("a")
		}, 409, "a=2 b=1"},
		"look at another key, then set": {func(s *session.Session) error {
			look(s, "b")
			return s.Set("a", 5)
		}, 200, "a=5 b=1"},
		"look, then update": {func(s *session.Session) error {
			look(s, "a")
			return increment(s, "a")
		}, 200, "a=3 b=1"},
		"update, then set by it": {func(s *session.Session) error {
			err := increment(s, "a")
			look(s, "a")
			return errors.Join(err, s.Set("a", 7))
		}, 409, "a=2 b=1"},
		"update twice":           {func(s *session.Session) error { return errors.Join(increment(s, "a"), increment(s, "a")) }, 200, "a=4 b=1"},
		"set, then update":       {func(s *session.Session) error { return errors.Join(s.Set("a", 10), increment(s, "a")) }, 200, "a=11 b=1"},
		"delete":                 {func(s *session.Session) error { return s.Delete("a") }, 200, "a=0 b=1"},
		"delete another":         {func(s *session.Session) error { return s.Delete("b") }, 200, "a=2 b=0"},
		"look only":              {func(s *session.Session) error { look(s, "a"); return nil }, 200, "a=2 b=1"},
		"renew with a change":    {func(s *session.Session) error { return errors.Join(increment(s, "a"), s.Renew()) }, 200, "a=3 b=1"},
		"renew alone":            {func(s *session.Session) error { return s.Renew() }, 200, "a=2 b=1"},
		"destroy":                {func(s *session.Session) error { return s.Destroy() }, 200, "a=0 b=0"},
		"destroy, then set":      {func(s *session.Session) error { return errors.Join(s.Destroy(), s.Set("b", 9)) }, 200, "a=0 b=9"},
		"set to what it was":     {func(s *session.Session) error { return s.Set("b", 1) }, 200, "a=2 b=1"},
		"fails when run again":   {func(s *session.Session) error { return onlyOnce(s, errSold) }, 500, "a=2 b=1"},
		"fails at once":          {func(s *session.Session) error { return failing(s, errSold) }, 418, "a=2 b=1"},
		"an update of a new key": {func(s *session.Session) error { return increment(s, "b") }, 200, "a=2 b=2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var b *browser
			b = newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
				"/init": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					answer(w, "", errors.Join(s.Set("a", 1), s.Set("b", 1)))
				},
				"/increment": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", increment(s, "a")) },
				"/do": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					err := c.do(s)
					if w := b.with().do("POST", "/increment"); w.Code != http.StatusOK {
						t.Fatalf("the other request: %d", w.Code)
					}
					answer(w, "", err)
				},
				"/show": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					x, _, _ := session.Value[int](s, "a")
					y, _, _ := session.Value[int](s, "b")
					fmt.Fprintf(w, "a=%d b=%d", x, y)
				},
			})))
			b.do("POST", "/init")
			if w := b.do("POST", "/do"); w.Code != c.code {
				t.Errorf("got %d %s, want %d", w.Code, body(w), c.code)
			}
			if got := body(b.do("GET", "/show")); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// onlyOnce updates a by a function that fails on any value but the first.
func onlyOnce(s *session.Session, failure error) error {
	return session.Update(s, "a", func(n int, _ bool) (int, error) {
		if n != 1 {
			return 0, failure
		}
		return 100, nil
	})
}

func failing(s *session.Session, failure error) error {
	err := session.Update(s, "a", func(int, bool) (int, error) { return 0, failure })
	if !errors.Is(err, failure) {
		return nil
	}
	return err
}

// TestUpdateRunsOncePerValue: a function is run again on another value only.
func TestUpdateRunsOncePerValue(t *testing.T) {
	runs := 0
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/count": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", session.Update(s, "n", func(n int, ok bool) (int, error) {
				if runs++; ok != (n > 0) {
					t.Errorf("n=%d, ok=%t", n, ok)
				}
				return n + 1, nil
			}))
		},
	})))
	for want := 1; want <= 3; want++ {
		b.do("POST", "/count")
		if runs != want {
			t.Errorf("request %d: run %d times in all", want, runs)
		}
	}
}

func TestValueOfAnotherType(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/set": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", s.Set("a", "text")) },
		"/get": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, ok, err := session.Value[int](s, "a")
			if v != 0 || ok || err == nil {
				t.Errorf("got %v, %t, %v", v, ok, err)
			}
			if err := session.Update(s, "a", func(int, bool) (int, error) { return 1, nil }); err == nil {
				t.Error("Update of a value of another type: no error")
			}
			if err := s.Set("a", func() {}); err == nil {
				t.Error("Set of a function: no error")
			}
			answer(w, "", nil)
		},
	})))
	b.do("POST", "/set")
	if w := b.do("POST", "/get"); w.Code != http.StatusOK {
		t.Errorf("got %d", w.Code)
	}
}

// TestOneRequestManyGoroutines: a handler may use its session from several.
func TestOneRequestManyGoroutines(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/many": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					if err := add(s, "tea"); err != nil {
						t.Error(err)
					}
					if i%10 == 0 {
						if err := s.Save(); err != nil {
							t.Error(err)
						}
					}
					_, _, _ = session.Value[map[string]int](s, "cart")
				})
			}
			wg.Wait()
			answer(w, "", nil)
		},
	})))
	b.do("POST", "/add?sku=pot")
	b.do("POST", "/many")
	if got := body(b.do("GET", "/read")); got != `{"pot":1,"tea":50}` {
		t.Errorf("got %s", got)
	}
}

// TestUpdateMayLookAtTheSession: it should not, but must not hang.
func TestUpdateMayLookAtTheSession(t *testing.T) {
	var b *browser
	once := sync.OnceFunc(func() { b.with().do("POST", "/add?sku=pot") })
	b = newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/nested": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			err := session.Update(s, "cart", func(cart map[string]int, _ bool) (map[string]int, error) {
				_, _, err := session.Value[string](s, "user")
				cart["tea"]++
				return cart, err
			})
			once()
			answer(w, "", err)
		},
	})))
	b.do("POST", "/add?sku=tea")
	b.do("POST", "/nested")
	if got := body(b.do("GET", "/read")); got != `{"pot":1,"tea":2}` {
		t.Errorf("got %s", got)
	}
}

func TestSave(t *testing.T) {
	t.Run("before the first byte", func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
			"/save": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := errors.Join(add(s, "tea"), s.Save(), s.Save(), add(s, "tea"))
				answer(w, "", err)
			},
		})))
		if w := b.do("POST", "/save"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
			t.Errorf("got %d %s, %v", w.Code, body(w), w.Header())
		}
		if got := body(b.do("GET", "/read")); got != `{"tea":2}` {
			t.Errorf("got %s", got)
		}
	})
	t.Run("conflict", func(t *testing.T) {
		var b *browser
		b = newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
			"/save": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				_, _, _ = session.Value[map[string]int](s, "cart")
				b.with().do("POST", "/add?sku=pot")
				err := errors.Join(s.Set("cart", nil), s.Save())
				if !errors.Is(err, session.ErrConflict) {
					t.Errorf("got %v", err)
				}
			},
			"/ended": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := add(s, "pot")
				b.with().do("POST", "/logout")
				if err := errors.Join(err, s.Save()); !errors.Is(err, session.ErrEnded) {
					t.Errorf("got %v", err)
				}
			},
		})))
		b.do("POST", "/add?sku=tea")
		if w := b.do("POST", "/save"); w.Code != http.StatusConflict {
			t.Errorf("got %d", w.Code)
		}
		if w := b.do("POST", "/ended"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("ended: got %d, %v", w.Code, w.Header())
		}
	})
	t.Run("after the first byte without a session", func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
			"/late": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				io.WriteString(w, "first")
				if err := add(s, "tea"); !errors.Is(err, session.ErrBegun) {
					t.Errorf("got %v", err)
				}
			},
		})))
		b.do("POST", "/late")
	})
}

func TestRenewKeepsTheData(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/renew": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", s.Renew()) },
	})))
	b.do("POST", "/add?sku=tea")
	old := b.with()
	b.do("POST", "/renew")
	if old.cookies["__Host-sid"] == b.cookies["__Host-sid"] {
		t.Error("the id stayed")
	}
	if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
		t.Errorf("got %s", got)
	}
	b.do("POST", "/add?sku=pot")
	if got := body(old.do("GET", "/read")); got != `{"tea":1}` {
		t.Errorf("with the old id, which shows what stood before: %s", got)
	}
}

func TestRevoke(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		m := manager(t, open(), session.Options{})
		other := manager(t, open(), session.Options{}).Handler(app())
		h := m.Handler(app())
		ann1, ann2, bob, guest := newBrowser(h), newBrowser(other), newBrowser(h), newBrowser(h)
		for b, path := range map[*browser]string{ann1: "/login?user=ann", ann2: "/login?user=ann", bob: "/login?user=bob", guest: "/add?sku=tea"} {
			b.do("POST", path)
		}
		check := func(when string, want map[*browser]string) {
			t.Helper()
			for b, user := range want {
				if got := body(b.do("GET", "/whoami")); got != user {
					t.Errorf("%s: got %s, want %s", when, got, user)
				}
			}
		}
		check("before", map[*browser]string{ann1: `"ann"`, ann2: `"ann"`, bob: `"bob"`})
		for range 2 {
			if err := m.Revoke(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
		}
		untagged := ann1.with()
		untagged.cookies["__Host-sid"], _, _ = strings.Cut(untagged.cookies["__Host-sid"], ".")
		check("revoked", map[*browser]string{ann1: `""`, ann2: `""`, bob: `"bob"`, untagged: `""`})
		if got := body(guest.do("GET", "/read")); got != `{"tea":1}` {
			t.Errorf("a guest's cart: %s", got)
		}
		ann1.do("POST", "/login?user=ann")
		check("in again", map[*browser]string{ann1: `"ann"`, ann2: `""`})
		if err := m.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		check("revoked again", map[*browser]string{ann1: `""`, bob: `"bob"`})
	})
}

// TestLoginTwice: a second click on the button, or a second try since the first
// one's answer got lost, is a login too and finds the cart; what somebody put
// there meanwhile is not lost.
func TestLoginTwice(t *testing.T) {
	shop := func(t *testing.T) *browser {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := errors.Join(s.Subject("ann"), s.Set("user", "ann"))
				time.Sleep(10 * time.Second)
				answer(w, "in", err)
			},
			"/renew": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := errors.Join(s.Renew(), s.Set("user", "ann"))
				time.Sleep(10 * time.Second)
				answer(w, "in", err)
			},
		})))
		b.do("POST", "/add?sku=tea")
		return b
	}
	check := func(t *testing.T, b *browser, want string) {
		t.Helper()
		if got := body(b.do("GET", "/whoami")) + body(b.do("GET", "/read")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	// Both clicks load the cart, then somebody puts a pot into it.
	clicks := func(t *testing.T, path string) (codes []int, clicks [2]*browser) {
		b := shop(t)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range clicks {
			clicks[i] = b.with()
			wg.Go(func() {
				w := clicks[i].do("POST", path)
				mu.Lock()
				defer mu.Unlock()
				codes = append(codes, w.Code)
			})
		}
		synctest.Wait()
		b.do("POST", "/add?sku=pot")
		wg.Wait()
		slices.Sort(codes)
		return codes, clicks
	}
	t.Run("two clicks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			codes, clicks := clicks(t, "/slow")
			if !slices.Equal(codes, []int{200, 200}) {
				t.Errorf("got %v", codes)
			}
			for _, click := range clicks {
				check(t, click, `"ann"{"pot":1,"tea":1}`)
			}
		})
	})
	t.Run("two clicks on what only renews", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			codes, clicks := clicks(t, "/renew")
			if !slices.Equal(codes, []int{200, 200}) {
				t.Errorf("got %v", codes)
			}
			for _, click := range clicks {
				check(t, click, `"ann"{"pot":1,"tea":1}`)
			}
		})
	})
	t.Run("again with the old id", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := shop(t)
			lost := b.with()
			lost.do("POST", "/slow")
			time.Sleep(20 * time.Second)
			check(t, b, `""{"tea":1}`)
			b.do("POST", "/slow")
			check(t, b, `"ann"{"tea":1}`)
			check(t, lost, `"ann"{"tea":1}`)
		})
	})
	t.Run("after a logout whose answer got lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := shop(t)
			b.do("POST", "/slow")
			b.with().do("POST", "/logout")
			check(t, b, `""null`)
			b.do("POST", "/slow")
			check(t, b, `"ann"null`)
		})
	})
	t.Run("under way at a logout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := shop(t)
			slow := b.with()
			var wg sync.WaitGroup
			wg.Go(func() { slow.do("POST", "/slow") })
			synctest.Wait()
			b.with().do("POST", "/logout")
			wg.Wait()
			check(t, slow, `""null`)
		})
	})
}

// TestARetiredIDTellsNothing: once a session is another's, or nobody's again,
// the id that it had before shows nothing of it.
func TestARetiredIDTellsNothing(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(app()))
	for _, path := range []string{"/login?user=bob", "/login?user="} {
		b.do("POST", "/login?user=ann")
		b.do("POST", "/add?sku=secret")
		old := b.with()
		b.do("POST", path)
		if got := body(old.with().do("GET", "/whoami")) + body(old.do("GET", "/read")); got != `""null` {
			t.Errorf("after %s: %s", path, got)
		}
	}
}

// TestAFailureAfterSave: a login that was saved, and whose handler then failed,
// can be made again with the old id, which shows nothing of it.
func TestAFailureAfterSave(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/fail": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			if err := errors.Join(s.Set("user", "ann"), s.Subject("ann"), add(s, "pot"), s.Save()); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		},
		"/succeed": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", errors.Join(s.Subject("ann"), add(s, "pot"), s.Save(), s.Set("user", "ann"), s.Save()))
		},
	})))
	b.do("POST", "/add?sku=tea")
	func() {
		defer func() { _ = recover() }() // the abort that net/http would catch
		b.do("POST", "/fail")
	}()
	if got := body(b.do("GET", "/whoami")) + body(b.do("GET", "/read")); got != `""{"tea":1}` {
		t.Errorf("got %s", got)
	}
	b.do("POST", "/succeed")
	if got := body(b.do("GET", "/whoami")) + body(b.do("GET", "/read")); got != `"ann"{"pot":1,"tea":1}` {
		t.Errorf("got %s", got)
	}
}

// TestSubjectBeginsALifetime: a login is a new session with the old cart.
func TestSubjectBeginsALifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{Idle: 10 * time.Hour, Lifetime: 12 * time.Hour}).Handler(app()))
		b.do("POST", "/add?sku=tea")
		time.Sleep(9 * time.Hour)
		b.do("POST", "/login?user=ann")
		time.Sleep(9 * time.Hour)
		if got := body(b.do("GET", "/read")) + body(b.do("GET", "/whoami")); got != `{"tea":1}"ann"` {
			t.Errorf("got %s", got)
		}
	})
}

// TestManagersShareAStore: a ticket of one opens nothing at another.
func TestManagersShareAStore(t *testing.T) {
	store := session.Memory()
	shop := newBrowser(manager(t, store, session.ShopOptions()).Handler(app()))
	opts := session.AdminOptions()
	opts.Name = "admin"
	admin := newBrowser(manager(t, store, opts).Handler(app()))
	for _, path := range []string{"/add?sku=tea", "/login?user=ann"} {
		shop.do("POST", path)
		admin.cookies["__Host-admin"] = shop.cookies["__Host-sid"]
		if got := body(admin.do("GET", "/read")) + body(admin.do("GET", "/whoami")); got != `null""` {
			t.Errorf("after %s, a shop's session at the administration: %s", path, got)
		}
	}
}

func TestCookieAttributes(t *testing.T) {
	shop := session.ShopOptions()
	domain := session.Options{Name: "s", Domain: "shop.example", SameSite: http.SameSiteStrictMode}
	for want, opts := range map[string]session.Options{
		"__Host-sid=*; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax":        shop,
		"__Secure-s=*; Path=/; Domain=shop.example; HttpOnly; Secure; SameSite=Strict": domain,
	} {
		w := newBrowser(manager(t, session.Memory(), opts).Handler(app())).do("POST", "/add?sku=tea")
		name, rest, _ := strings.Cut(w.Header().Get("Set-Cookie"), "=")
		_, attributes, _ := strings.Cut(rest, ";")
		got := name + "=*;" + attributes
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestMakePrivate: what depends on a session is not shared by caches.
func TestMakePrivate(t *testing.T) {
	targeted := []string{"Cdn-Cache-Control", "Foretier-Cache-Control", "my-cache-control", "Surrogate-Control", "X-Accel-Expires", "Expires"}
	cases := map[string]struct {
		use       bool
		set, want string
	}{
		"used, says nothing":  {true, "", "private, no-store"},
		"used, says public":   {true, "public, s-maxage=60", "private, no-store"},
		"used, says private":  {true, "private, max-age=60", "private, max-age=60"},
		"used, says no-store": {true, "No-Store", "No-Store"},
		"used, says both":     {true, "private, public", "private, no-store"},
		"used, of one field":  {true, `private="set-cookie", max-age=60`, "private, no-store"},
		"used, no-store back": {true, "no-store, must-understand, max-age=60", "private, no-store"},
		"not used":            {false, "public, s-maxage=60", "public, s-maxage=60"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := manager(t, session.Memory(), session.Options{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.use {
					_, _, _ = session.Value[int](session.From(r.Context()), "a")
				}
				if c.set != "" {
					w.Header().Set("Cache-Control", c.set)
				}
				for _, name := range targeted {
					w.Header()[name] = []string{"max-age=60"}
				}
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "https://shop.example/", nil))
			if got := w.Header().Get("Cache-Control"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for _, name := range targeted {
				if (w.Header()[name] == nil) != c.use {
					t.Errorf("%s: header: %v", name, w.Header())
				}
			}
		})
	}
}

// TestASharedResponseHasBegun: once the header has told caches that they may
// share the response, the session shows nothing that could get into it.
func TestASharedResponseHasBegun(t *testing.T) {
	cases := map[string]struct {
		name, value string
		want        error
	}{
		"says nothing": {"X-A", "1", nil},
		"private":      {"Cache-Control", "private, max-age=60", nil},
		"public":       {"Cache-Control", "public", session.ErrBegun},
		"max-age":      {"Cache-Control", "max-age=60", session.ErrBegun},
		"the tier's":   {"Foretier-Cache-Control", "max-age=60", session.ErrBegun},
		"Expires":      {"Expires", "Fri, 01 Jan 2100 00:00:00 GMT", session.ErrBegun},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got error
			b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{"/late": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				w.Header().Set(c.name, c.value)
				_, _ = io.WriteString(w, "<!doctype html>")
				_, _, got = session.Value[map[string]int](s, "cart")
			}})))
			b.do("POST", "/add?sku=tea")
			b.do("GET", "/late")
			if !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestAPanicSavesNothing: half of what a handler meant to do is not kept.
func TestAPanicSavesNothing(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/panic": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			_ = add(s, "pot")
			panic(http.ErrAbortHandler)
		},
	})))
	b.do("POST", "/add?sku=tea")
	func() {
		defer func() { _ = recover() }() // the abort that net/http would catch
		b.do("POST", "/panic")
	}()
	if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
		t.Errorf("got %s", got)
	}
}

// TestCrossSitePost: a return from a payment page comes without the Lax cookie.
// Whatever its handler does with the session, the browser keeps the one it has.
func TestCrossSitePost(t *testing.T) {
	cases := map[string]struct {
		method, site, origin string
		readOnly             bool
	}{
		"from a payment page":       {"POST", "cross-site", "https://pay.example", true},
		"older browser":             {"POST", "", "https://pay.example", true},
		"opaque origin":             {"POST", "", "null", true},
		"the shop's own page":       {"POST", "same-origin", "https://shop.example", false},
		"the shop's other host":     {"POST", "same-site", "https://www.shop.example", false},
		"own page, older browser":   {"POST", "", "https://SHOP.example", false},
		"typed, or a program":       {"POST", "none", "", false},
		"no browser":                {"POST", "", "", false},
		"a link from another site":  {"GET", "cross-site", "", false},
		"another site deletes":      {"DELETE", "cross-site", "https://pay.example", true},
		"an origin that is no URL":  {"POST", "", "https://%", true},
		"another port is same-site": {"POST", "same-site", "https://shop.example:8443", false},
		"another port, older":       {"POST", "", "https://shop.example:8443", false},
		"a host below, older":       {"POST", "", "https://www.shop.example", false},
		"a name that ends alike":    {"POST", "", "https://myshop.example", true},
		"an app":                    {"POST", "", "capacitor://localhost", true},
		"an app of our name":        {"POST", "", "capacitor://shop.example", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var set error
			b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
				"/return": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					set = s.Set("paid", true)
					io.WriteString(w, "thank you")
				},
			})))
			b.do("POST", "/login?user=ann")
			bare := newBrowser(b.handler)
			w := bare.do(c.method, "/return", "Sec-Fetch-Site", c.site, "Origin", c.origin)
			if w.Code != http.StatusOK || body(w) != "thank you" {
				t.Errorf("got %d %s", w.Code, body(w))
			}
			if errors.Is(set, session.ErrReadOnly) != c.readOnly {
				t.Errorf("Set: %v", set)
			}
			if (len(w.Header()["Set-Cookie"]) == 0) != c.readOnly {
				t.Errorf("header: %v", w.Header())
			}
			// With the cookie, as a SameSite=None one would come, it is an
			// ordinary request.
			if w := b.do(c.method, "/return", "Sec-Fetch-Site", c.site, "Origin", c.origin); w.Code != http.StatusOK || set != nil {
				t.Errorf("with the cookie: %d, %v", w.Code, set)
			}
			if got := body(b.do("GET", "/whoami")); got != `"ann"` {
				t.Errorf("then logged in as %s", got)
			}
		})
	}
}

// TestLoginFromAnywhere: a SameSite=None cookie would have come if there was
// one, so a login from another site's page begins a session.
func TestLoginFromAnywhere(t *testing.T) {
	origins := map[string][]string{
		"another site":         {"Sec-Fetch-Site", "cross-site", "Origin", "https://partner.example"},
		"older browser":        {"Origin", "https://partner.example"},
		"an app":               {"Origin", "capacitor://localhost"},
		"an app, newer":        {"Sec-Fetch-Site", "cross-site", "Origin", "capacitor://localhost"},
		"a sandboxed frame":    {"Origin", "null"},
		"a front that renames": {"Origin", "https://www.shop.example", "Host", "backend.internal"},
	}
	for name, header := range origins {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(manager(t, session.Memory(), session.Options{SameSite: http.SameSiteNoneMode}).Handler(app()))
			if w := b.do("POST", "/login?user=ann", header...); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Errorf("got %d %s, %v", w.Code, body(w), w.Header())
			}
			if got := body(b.do("GET", "/whoami")); got != `"ann"` {
				t.Errorf("then %s", got)
			}
		})
	}
}

// TestSameSite: what an older browser says of its page is compared as it
// compares sites itself, also behind a front that puts another Host in place.
func TestSameSite(t *testing.T) {
	cases := map[string]struct {
		origin, host, forwarded, domain string
		want                            bool
	}{
		"the same":             {"https://shop.example", "shop.example", "", "", true},
		"default port":         {"https://shop.example", "shop.example:443", "", "", true},
		"final dot":            {"https://shop.example", "shop.example.", "", "", true},
		"IPv6":                 {"http://[::1]:3000", "[::1]:8080", "", "", true},
		"IPv4 is no domain":    {"http://10.0.0.1", "0.0.1", "", "", false},
		"beside, of one site":  {"https://www.shop.example", "api.shop.example", "", "shop.example", true},
		"beside, nobody knows": {"https://www.shop.example", "api.shop.example", "", "", false},
		"outside the domain":   {"https://pay.example", "api.shop.example", "", "shop.example", false},
		"renamed":              {"https://shop.example", "web1.internal:8080", "", "", false},
		"renamed, and said":    {"https://shop.example", "web1.internal:8080", "shop.example", "", true},
		"renamed twice":        {"https://shop.example", "web1.internal:8080", "shop.example, front.internal", "", true},
		"said, another":        {"https://pay.example", "web1.internal:8080", "shop.example", "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := manager(t, session.Memory(), session.Options{Domain: c.domain}).Handler(app())
			r := httptest.NewRequest("POST", "/login?user=ann", nil)
			r.Host = c.host
			r.Header.Set("Origin", c.origin)
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-Host", c.forwarded)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := len(w.Header()["Set-Cookie"]) == 1; got != c.want {
				t.Errorf("a cookie: %t, want %t", got, c.want)
			}
		})
	}
}

// TestContextOfTheRequest: the session's context passes everything else on.
func TestContextOfTheRequest(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	h := manager(t, session.Memory(), session.Options{}).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		child, stop := context.WithCancel(r.Context())
		defer stop()
		if child.Value(key{}) != "value" || session.From(child) == nil {
			t.Error("a value got lost")
		}
		cancel()
		<-child.Done()
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
}
