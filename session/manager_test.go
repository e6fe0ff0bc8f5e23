package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/session"
)

// discard is for tests in which errors are meant.
var discard = slog.New(slog.DiscardHandler)

func manager(t *testing.T, store session.Store, opts session.Options) *session.Manager {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = discard
	}
	m, err := session.New(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A browser keeps the session's cookie as a real one would.
type browser struct {
	handler http.Handler
	cookies map[string]string
}

func newBrowser(h http.Handler) *browser { return &browser{h, map[string]string{}} }

// do sends a request and takes over the cookies of its answer.
func (b *browser) do(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://shop.example"+target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

// app is a small shop that speaks through its session.
func app() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "plain") })
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		cart, _, err := session.Value[map[string]int](session.From(r.Context()), "cart")
		answer(w, cart, err)
	})
	mux.HandleFunc("/add", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "added", add(session.From(r.Context()), r.FormValue("sku")))
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		answer(w, "in", errors.Join(s.Subject(r.FormValue("user")), s.Set("user", r.FormValue("user"))))
	})
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		user, _, err := session.Value[string](session.From(r.Context()), "user")
		answer(w, user, err)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "out", session.From(r.Context()).Destroy())
	})
	return mux
}

func add(s *session.Session, sku string) error {
	return session.Update(s, "cart", func(cart map[string]int, _ bool) (map[string]int, error) {
		if cart == nil {
			cart = map[string]int{}
		}
		cart[sku]++
		return cart, nil
	})
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

func body(w *httptest.ResponseRecorder) string { return strings.TrimSpace(w.Body.String()) }

func TestACart(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(app()))
	if w := b.do("GET", "/read"); body(w) != "null" || len(w.Header()["Set-Cookie"]) > 0 {
		t.Errorf("a first look: %s, %v", body(w), w.Header())
	}
	w := b.do("POST", "/add?sku=tea")
	want := "; Path=/; HttpOnly; Secure; SameSite=Lax"
	if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-sid=") || !strings.HasSuffix(got, want) {
		t.Errorf("cookie: %s", got)
	}
	if w := b.do("POST", "/add?sku=tea"); len(w.Header()["Set-Cookie"]) > 0 {
		t.Errorf("a second cookie: %v", w.Header())
	}
	if w := b.do("GET", "/read"); body(w) != `{"tea":2}` || w.Header().Get("Cache-Control") != "private, no-store" {
		t.Errorf("got %s, %v", body(w), w.Header())
	}
	if w := b.do("GET", "/plain"); w.Header().Get("Cache-Control") != "" {
		t.Errorf("a page without a session: %v", w.Header())
	}
	w = b.do("POST", "/logout")
	if got := w.Header().Get("Set-Cookie"); !strings.Contains(got, "Max-Age=0") {
		t.Errorf("logout: cookie %q", got)
	}
	if w := b.do("GET", "/read"); body(w) != "null" {
		t.Errorf("after logout: %s", body(w))
	}
}

func TestDefaults(t *testing.T) {
	cases := map[string]struct {
		opts           session.Options
		idle, lifetime time.Duration
	}{
		"zero":  {session.Options{}, 30 * time.Minute, 12 * time.Hour},
		"shop":  {session.ShopOptions(), 24 * time.Hour, 30 * 24 * time.Hour},
		"admin": {session.AdminOptions(), 15 * time.Minute, 8 * time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { testLimits(t, c.opts, c.idle, c.lifetime) })
	}
}

// A nilStore is a store whose constructor has failed.
type nilStore struct{ session.Store }

func TestNewSaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		store session.Store
		opts  session.Options
		want  string
	}{
		"no store":     {nil, session.Options{}, "no store"},
		"name":         {session.Memory(), session.Options{Name: "a b"}, "name"},
		"prefix":       {session.Memory(), session.Options{Name: "__Host-sid"}, "prefix"},
		"idle":         {session.Memory(), session.Options{Idle: time.Second}, "idle"},
		"lifetime":     {session.Memory(), session.Options{Idle: time.Hour, Lifetime: time.Minute}, "lifetime"},
		"remember":     {session.Memory(), session.Options{Remember: time.Hour}, "want it to be longer"},
		"timeout":      {session.Memory(), session.Options{Timeout: -1}, "timeout"},
		"domain":       {session.Memory(), session.Options{Domain: "a;b"}, "domain"},
		"domain URL":   {session.Memory(), session.Options{Domain: "https://shop.example"}, `domain "https://shop.example": want a host's name without scheme, port and path`},
		"domain port":  {session.Memory(), session.Options{Domain: "shop.example:443"}, "without scheme, port and path"},
		"domain path":  {session.Memory(), session.Options{Domain: "shop.example/"}, "without scheme, port and path"},
		"domain star":  {session.Memory(), session.Options{Domain: "*.shop.example"}, "such as shop.example"},
		"domain dots":  {session.Memory(), session.Options{Domain: "shop..example"}, "such as shop.example"},
		"domain IPv6":  {session.Memory(), session.Options{Domain: "[::1]"}, "such as shop.example"},
		"domain in ü":  {session.Memory(), session.Options{Domain: "bücher.example"}, "such as shop.example"},
		"nil store":    {(*nilStore)(nil), session.Options{}, "no store"},
		"SameSite":     {session.Memory(), session.Options{SameSite: 9}, "no SameSite 9"},
		"header":       {session.Memory(), session.Options{Header: "Cookie"}, "want Authorization, or a name that begins with X-"},
		"header of ..": {session.Memory(), session.Options{Header: "X-Forwarded-For"}, "such as X-Session"},
		"header users": {session.Memory(), session.Options{Header: "X-Remote-User"}, "such as X-Session"},
		"header _":     {session.Memory(), session.Options{Header: "X_Session"}, "such as X-Session"},
		"header CRLF":  {session.Memory(), session.Options{Header: "X-Session\r\nX-Evil"}, "such as X-Session"},
		"header, site": {session.Memory(), session.Options{Header: "X-Session", SameSite: http.SameSiteLaxMode}, "leave Domain and SameSite out"},
		"header, host": {session.Memory(), session.Options{Header: "X-Session", Domain: "shop.example"}, "leave Domain and SameSite out"},
		"none on http": {session.Memory(), session.Options{SameSite: http.SameSiteNoneMode, AllowInsecure: true}, "SameSite"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := session.New(c.store, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, domain := range []string{"shop.example", ".shop.example", "Shop.Example", "xn--bcher-kva.example", "localhost"} {
		if _, err := session.New(session.Memory(), session.Options{Domain: domain}); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	cases := map[string]struct {
		allow  bool
		scheme string
		want   string
	}{
		"default":             {false, "http", "__Host-sid=*; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"allowed":             {true, "http", "sid=*; Path=/; HttpOnly; SameSite=Lax"},
		"allowed, over HTTPS": {true, "https", "__Host-sid=*; Path=/; HttpOnly; Secure; SameSite=Lax"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := manager(t, session.Memory(), session.Options{AllowInsecure: c.allow}).Handler(app())
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", c.scheme+"://localhost/add?sku=tea", nil))
			got := w.Header().Get("Set-Cookie")
			name, rest, _ := strings.Cut(got, "=")
			_, attributes, _ := strings.Cut(rest, ";")
			if got := fmt.Sprintf("%s=*;%s", name, attributes); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestSchemesAreApart: a cookie that went over the open network opens nothing
// on HTTPS, and the other way round.
func TestSchemesAreApart(t *testing.T) {
	h := manager(t, session.Memory(), session.Options{AllowInsecure: true}).Handler(app())
	ask := func(scheme, path, cookie string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", scheme+"://localhost"+path, nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for scheme, other := range map[string]string{"http": "https", "https": "http"} {
		sent := ask(scheme, "/add?sku=tea", "").Result().Cookies()
		if got := body(ask(other, "/read", sent[0].Name+"="+sent[0].Value)); got != "null" {
			t.Errorf("the cookie of %s on %s: %s", scheme, other, got)
		}
		if got := body(ask(scheme, "/read", sent[0].Name+"="+sent[0].Value)); got != `{"tea":1}` {
			t.Errorf("on %s: %s", scheme, got)
		}
	}
}

func TestWithoutAManager(t *testing.T) {
	s := session.From(context.Background())
	_, _, err := session.Value[int](s, "a")
	for _, err := range []error{err, add(s, "a"), s.Set("a", 1), s.Delete("a"), s.Renew(), s.Destroy(), s.Save(), s.Subject("a")} {
		if !errors.Is(err, session.ErrNoManager) {
			t.Errorf("got %v", err)
		}
	}
}

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
