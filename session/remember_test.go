package session_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// remembering logs in as app does, with a box to be ticked.
func remembering() http.Handler {
	mux := app().(*http.ServeMux)
	mux.HandleFunc("/enter", func(w http.ResponseWriter, r *http.Request) {
		s, user := session.From(r.Context()), r.FormValue("user")
		first := r.FormValue("order") == "remember"
		var err error
		if first {
			err = s.Remember(r.FormValue("remember") != "")
		}
		err = errors.Join(err, s.Subject(user), s.Set("user", user))
		if !first {
			err = errors.Join(err, s.Remember(r.FormValue("remember") != ""))
		}
		answer(w, "in", err)
	})
	mux.HandleFunc("/renew", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "renewed", session.From(r.Context()).Renew())
	})
	return mux
}

// TestRemember: who ticks the box is known for a month, by a cookie that outlives the
// window; who does not, for half an hour.
func TestRemember(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		opts   session.Options
		path   string
		maxAge int           // in seconds; 0: until the window is closed
		there  time.Duration // when it is still known, though it was not used
		gone   time.Duration // when it is not
	}{
		"not":              {session.Options{}, "/enter?user=ann", 0, 29 * time.Minute, 31 * time.Minute},
		"remembered":       {session.Options{}, "/enter?user=ann&remember=1", 30 * 86400, 30*day - time.Minute, 30*day + time.Minute},
		"before the login": {session.Options{}, "/enter?user=ann&remember=1&order=remember", 30 * 86400, 30*day - time.Minute, 30*day + time.Minute},
		"for a week":       {session.Options{Remember: 7 * day}, "/enter?user=ann&remember=1", 7 * 86400, 7*day - time.Minute, 7*day + time.Minute},
		"a shop's":         {session.ShopOptions(), "/enter?user=ann&remember=1", 30 * 86400, 30*day - time.Minute, 30*day + time.Minute},
		"an admin's":       {session.AdminOptions(), "/enter?user=ann", 0, 14 * time.Minute, 16 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBrowser(manager(t, session.Memory(), c.opts).Handler(remembering()))
				begun := time.Now()
				w := b.do("POST", c.path)
				if cookie := w.Result().Cookies()[0]; cookie.MaxAge != c.maxAge {
					t.Errorf("Max-Age %d, want %d", cookie.MaxAge, c.maxAge)
				}
				store := b.with()
				time.Sleep(c.there - time.Since(begun))
				if got := body(store.do("GET", "/whoami")); got != `"ann"` {
					t.Errorf("after %v: %s", c.there, got)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				b := newBrowser(manager(t, session.Memory(), c.opts).Handler(remembering()))
				b.do("POST", c.path)
				time.Sleep(c.gone)
				if got := body(b.do("GET", "/whoami")); got != `""` {
					t.Errorf("after %v: %s", c.gone, got)
				}
			})
		})
	}
}

// TestRememberedIsRevoked: the end of all sessions of a subject holds for as long as
// one may be remembered, and a remembered one stays so when it is renewed, until the
// next login.
func TestRememberedIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t, session.Memory(), session.Options{})
		h := m.Handler(remembering())
		b, stolen := newBrowser(h), newBrowser(h)
		b.do("POST", "/enter?user=ann&remember=1")
		stolen.do("POST", "/enter?user=ann&remember=1")
		if err := m.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * 24 * time.Hour)
		if got := body(stolen.do("GET", "/whoami")); got != `""` {
			t.Errorf("three weeks after its end: %s", got)
		}
		b.do("POST", "/enter?user=ann&remember=1")
		time.Sleep(10 * 24 * time.Hour)
		if w := b.do("POST", "/renew"); w.Result().Cookies()[0].MaxAge != 20*86400 {
			t.Errorf("renewed: %v", w.Result().Cookies())
		}
		old := b.with()
		if w := old.do("GET", "/whoami"); body(w) != `"ann"` || len(w.Result().Cookies()) > 0 {
			t.Errorf("used: %s, %v", body(w), w.Result().Cookies())
		}
		if w := b.do("POST", "/enter?user=ann"); w.Result().Cookies()[0].MaxAge != 0 {
			t.Errorf("logged in without it: %v", w.Result().Cookies())
		}
		time.Sleep(31 * time.Minute)
		if got := body(b.do("GET", "/whoami")); got != `""` {
			t.Errorf("the next login: %s", got)
		}
	})
}

// TestRememberCostsNoTouch: its time is fixed.
func TestRememberCostsNoTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		b := newBrowser(manager(t, store, session.Options{}).Handler(remembering()))
		b.do("POST", "/enter?user=ann&remember=1")
		for range 3 {
			time.Sleep(5 * 24 * time.Hour)
			store.taken()
			b.do("GET", "/whoami")
			if got := store.taken(); len(got) != 1 {
				t.Errorf("calls %v", got)
			}
		}
	})
}
