package session_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// renewing is app with /renew.
func renewing() http.Handler {
	return script(handlers{
		"/renew": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			err := s.Renew()
			if sku := r.FormValue("sku"); sku != "" {
				err = errors.Join(err, add(s, sku))
			}
			answer(w, "renewed", err)
		},
	})
}

// sees returns who b is and what is in the cart.
func (b *browser) sees() string { return body(b.do("GET", "/whoami")) + body(b.do("GET", "/read")) }

// TestRenewedByManyAtOnce: each of them succeeds, and has a session that works,
// whoever of them gets their cookie through.
func TestRenewedByManyAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		var tiers [2]http.Handler
		for i := range tiers {
			tiers[i] = manager(t, open(), session.Options{}).Handler(renewing())
		}
		b := newBrowser(tiers[0])
		b.do("POST", "/login?user=ann")
		b.do("POST", "/add?sku=tea")
		var clicks [40]*browser
		var wg sync.WaitGroup
		var failed atomic.Int32
		for i := range clicks {
			clicks[i] = newBrowser(tiers[i%2])
			clicks[i].cookies["__Host-sid"] = b.cookies["__Host-sid"]
			wg.Go(func() {
				if w := clicks[i].do("POST", "/renew?sku=pot"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
					failed.Add(1)
					t.Errorf("got %d %s, %v", w.Code, body(w), w.Header())
				}
			})
		}
		wg.Wait()
		ids := make(map[string]bool)
		for _, click := range clicks {
			ids[click.cookies["__Host-sid"]] = true
			if got := click.sees(); got != `"ann"{"pot":1,"tea":1}` {
				t.Fatalf("got %s", got)
			}
		}
		if len(ids) != len(clicks) || ids[b.cookies["__Host-sid"]] {
			t.Errorf("%d ids for %d requests", len(ids), len(clicks))
		}
		if got := b.sees(); got != `"ann"{"tea":1}` {
			t.Errorf("with the old id: %s", got)
		}
	})
}

// TestARenewalWhoseAnswerGotLost: for a minute the visitor is who they were,
// changes nothing, gets no cookie, and can renew again.
func TestARenewalWhoseAnswerGotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, again := range []string{"/renew", "/login?user=ann"} {
			b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(renewing()))
			b.do("POST", "/login?user=ann")
			b.do("POST", "/add?sku=tea")
			time.Sleep(2 * time.Minute)
			lost := b.with()
			lost.do("POST", "/renew")
			lost.do("POST", "/add?sku=secret")
			time.Sleep(50 * time.Second)
			if got := b.sees(); got != `"ann"{"tea":1}` {
				t.Errorf("before %s: %s", again, got)
			}
			if w := b.with().do("GET", "/read"); len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("a cookie for a look: %v", w.Header())
			}
			if w := b.with().do("POST", "/add?sku=x"); w.Code != http.StatusConflict || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("a change: %d %v", w.Code, w.Header())
			}
			late := b.with()
			if w := b.do("POST", again); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", again, w.Code, body(w))
			}
			want := `"ann"{"tea":1}`
			time.Sleep(11 * time.Second)
			if got := b.sees(); got != want {
				t.Errorf("after %s: %s", again, got)
			}
			if got := late.sees(); got != `""null` {
				t.Errorf("61 s after: %s", got)
			}
			if got := lost.sees(); got != `"ann"{"secret":1,"tea":1}` {
				t.Errorf("the one whose answer was lost: %s", got)
			}
		}
	})
}

// TestAPlantedID: an id that an attacker gave to a visitor shows nothing that
// was written after a renewal, by whatever way to it, and whatever the attacker
// does with it meanwhile.
func TestAPlantedID(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		for _, way := range []string{"/renew", "/login?user=ann"} {
			h := manager(t, open(), session.Options{}).Handler(renewing())
			attacker := newBrowser(h)
			attacker.do("POST", "/add?sku=bait")
			visitor := attacker.with()
			spies := map[string]*browser{"reads": attacker.with(), "renews": attacker.with(), "logs in": attacker.with()}
			visitor.do("POST", way)
			spies["renews"].do("POST", "/renew")
			spies["logs in"].do("POST", "/login?user=mallory")
			visitor.do("POST", "/add?sku=secret")
			spies["renews again"] = spies["renews"].with()
			spies["renews again"].do("POST", "/renew")
			for how, spy := range spies {
				user := `""`
				if how == "logs in" {
					user = `"mallory"`
				}
				if got := spy.sees(); got != user+`{"bait":1}` {
					t.Errorf("after %s, one who %s: %s", way, how, got)
				}
				spy.do("POST", "/add?sku=poison")
			}
			want := `""{"bait":1,"secret":1}`
			if way != "/renew" {
				want = `"ann"{"bait":1,"secret":1}`
			}
			if got := visitor.sees(); got != want {
				t.Errorf("after %s the visitor: %s", way, got)
			}
		}
	})
}

// TestDeadAtOnce: a logout and a revocation end what old ids still show, by
// whichever of the ids that came of it, and with an old id itself.
func TestDeadAtOnce(t *testing.T) {
	ends := map[string]func(t *testing.T, m *session.Manager, b *browser){
		"Destroy": func(t *testing.T, _ *session.Manager, b *browser) {
			if w := b.with().do("POST", "/logout"); w.Code != http.StatusOK {
				t.Errorf("logout: %d %s", w.Code, body(w))
			}
		},
		"Revoke": func(t *testing.T, m *session.Manager, _ *browser) {
			if err := m.Revoke(t.Context(), "ann"); err != nil {
				t.Error(err)
			}
		},
	}
	ways := map[string]func(b *browser) (old []*browser, now *browser){
		"a login": func(b *browser) ([]*browser, *browser) {
			old := b.with()
			b.do("POST", "/login?user=ann")
			return []*browser{old}, b
		},
		"a renewal": func(b *browser) ([]*browser, *browser) {
			b.do("POST", "/login?user=ann")
			old := b.with()
			b.do("POST", "/renew")
			return []*browser{old}, b
		},
		"three in a row": func(b *browser) (old []*browser, now *browser) {
			for _, path := range []string{"/renew", "/login?user=ann", "/renew"} {
				old = append(old, b.with())
				b.do("POST", path)
			}
			return old, b
		},
		"the second of two at once": func(b *browser) ([]*browser, *browser) {
			b.do("POST", "/login?user=ann")
			old, other := b.with(), b.with()
			b.do("POST", "/renew")
			other.do("POST", "/renew")
			return []*browser{old}, other
		},
		"the second, renewed": func(b *browser) ([]*browser, *browser) {
			b.do("POST", "/login?user=ann")
			old, other := b.with(), b.with()
			b.do("POST", "/renew")
			other.do("POST", "/renew")
			between := other.with()
			other.do("POST", "/renew")
			return []*browser{old, between}, other
		},
		"the old one": func(b *browser) ([]*browser, *browser) {
			b.do("POST", "/login?user=ann")
			old := b.with()
			b.do("POST", "/renew")
			return []*browser{old}, old
		},
	}
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		for how, end := range ends {
			for way, renew := range ways {
				m := manager(t, open(), session.Options{})
				b := newBrowser(m.Handler(renewing()))
				b.do("POST", "/add?sku=tea")
				old, now := renew(b)
				for i, o := range old {
					if got := body(o.do("GET", "/read")); got != `{"tea":1}` {
						t.Errorf("%s: id %d, before: %s", way, i, got)
					}
				}
				end(t, m, now)
				for i, o := range old {
					if got := o.with().sees(); got != `""null` {
						t.Errorf("%s, %s: id %d shows %s", way, how, i, got)
					}
					o.do("POST", "/renew")
					if got := o.sees(); got != `""null` {
						t.Errorf("%s, %s: id %d, renewed, shows %s", way, how, i, got)
					}
				}
			}
		}
	})
}

// TestALogoutBeatsARenewal: one that is under way when the visitor logs out
// brings nothing back.
func TestALogoutBeatsARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
			"/renew": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", s.Renew()) },
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := s.Renew()
				time.Sleep(10 * time.Second)
				answer(w, "", err)
			},
		})))
		b.do("POST", "/login?user=ann")
		old := b.with()
		b.do("POST", "/renew")
		var wg sync.WaitGroup
		slow := old.with()
		wg.Go(func() { slow.do("POST", "/slow") })
		synctest.Wait()
		b.do("POST", "/logout")
		wg.Wait()
		if slow.cookies["__Host-sid"] != old.cookies["__Host-sid"] {
			t.Error("a cookie after the logout")
		}
		if got := slow.sees(); got != `""null` {
			t.Errorf("got %s", got)
		}
	})
}

// TestAFullSessionIsRenewed: what stood before is left out of a tombstone that
// has no room for it.
func TestAFullSessionIsRenewed(t *testing.T) {
	big := make([]byte, session.MaxSize-100)
	for i := range big {
		big[i] = 'a'
	}
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/fill": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", s.Set("big", string(big)))
		},
		"/renew": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", s.Renew()) },
	})))
	if w := b.do("POST", "/fill"); w.Code != http.StatusOK {
		t.Fatalf("got %d %s", w.Code, body(w))
	}
	old := b.cookies["__Host-sid"]
	if w := b.do("POST", "/renew"); w.Code != http.StatusOK || b.cookies["__Host-sid"] == old {
		t.Errorf("got %d %s", w.Code, body(w))
	}
}

// TestAnOldIDHasNoLock: work that must be done once is not done with the old id
// and with the new one.
func TestAnOldIDHasNoLock(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/renew": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "", s.Renew()) },
		"/pay": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "paid", s.Lock())
		},
	})))
	b.do("POST", "/add?sku=tea")
	old := b.with()
	b.do("POST", "/renew")
	if w := old.do("POST", "/pay"); w.Code == http.StatusOK || body(w) != session.ErrEnded.Error() {
		t.Errorf("with the old id: %d %s", w.Code, body(w))
	}
	if w := b.do("POST", "/pay"); w.Code != http.StatusOK {
		t.Errorf("with the new one: %d %s", w.Code, body(w))
	}
}
