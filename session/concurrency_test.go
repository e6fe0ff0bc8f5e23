package session_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/session"
)

// crowd sends n requests to the tiers at once, in turn, all with one cookie.
func crowd(t *testing.T, tiers []http.Handler, cookie string, n int, request func(i int) string) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			r := httptest.NewRequest("POST", "https://shop.example"+request(i), nil)
			r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: cookie})
			w := httptest.NewRecorder()
			<-start
			tiers[i%len(tiers)].ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("request %d: %d %s", i, w.Code, w.Body)
			}
			if request(i) != "/logout" && len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("a request under way set a cookie: %v", w.Header())
			}
		})
	}
	close(start)
	wg.Wait()
}

// twoTiers returns two managers as on two machines, and a browser at the first.
func twoTiers(t *testing.T, open func() session.Store) ([]http.Handler, *browser) {
	var tiers []http.Handler
	for range 2 {
		tiers = append(tiers, manager(t, open(), session.Options{}).Handler(app()))
	}
	return tiers, newBrowser(tiers[0])
}

// TestNoUpdateIsLost: 200 requests change one cart at the same time, half
// of them the same item.
func TestNoUpdateIsLost(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		tiers, b := twoTiers(t, open)
		b.do("POST", "/add?sku=first")
		crowd(t, tiers, b.cookies["__Host-sid"], 200, func(i int) string {
			if i < 100 {
				return "/add?sku=tea"
			}
			return fmt.Sprintf("/add?sku=n%d", i)
		})
		var cart map[string]int
		if err := json.Unmarshal(b.do("GET", "/read").Body.Bytes(), &cart); err != nil {
			t.Fatal(err)
		}
		if cart["tea"] != 100 || len(cart) != 102 {
			t.Errorf("%d of 100 teas, %d of 102 items", cart["tea"], len(cart))
		}
	})
}

// TestALogoutStaysOne amid 200 changes, none of which fails.
func TestALogoutStaysOne(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		tiers, b := twoTiers(t, open)
		b.do("POST", "/login?user=ann")
		cookie := b.cookies["__Host-sid"]
		crowd(t, tiers, cookie, 200, func(i int) string {
			if i == 100 {
				return "/logout"
			}
			return "/add?sku=tea"
		})
		for _, path := range []string{"/read", "/whoami"} {
			if got := body(b.do("GET", path)); got != "null" && got != `""` {
				t.Errorf("%s after logout: %s", path, got)
			}
		}
	})
}

// TestARenewalLosesNothing: a login amid 200 changes. Those that were confirmed
// are in the session that the login made; the others were told of a conflict.
func TestARenewalLosesNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		tiers, b := twoTiers(t, open)
		b.do("POST", "/add?sku=first")
		cookie := b.cookies["__Host-sid"]
		var kept atomic.Int32
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				other := newBrowser(tiers[i%2])
				other.cookies["__Host-sid"] = cookie
				if i == 100 {
					if w := other.do("POST", "/login?user=ann"); w.Code != http.StatusOK {
						t.Errorf("login: %d %s", w.Code, body(w))
					}
					b.cookies = other.cookies
					return
				}
				switch w := other.do("POST", "/add?sku=tea"); w.Code {
				case http.StatusOK:
					kept.Add(1)
				case http.StatusConflict:
				default:
					t.Errorf("got %d %s", w.Code, body(w))
				}
			})
		}
		wg.Wait()
		var cart map[string]int
		if err := json.Unmarshal(b.do("GET", "/read").Body.Bytes(), &cart); err != nil {
			t.Fatal(err)
		}
		if cart["tea"] != int(kept.Load()) || cart["first"] != 1 {
			t.Errorf("%v in the cart, %d confirmed", cart, kept.Load())
		}
		t.Logf("%d of 199 before the login", kept.Load())
	})
}
