package drivertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/session"
)

// TestAShop: two gateways on one database. What 100 requests put into one cart at once
// is in it; a logout among 100 requests is one; a subject's sessions are listed, ended
// and revoked on both.
func TestAShop(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		var gateways []http.Handler
		var managers []*session.Manager
		for range 2 {
			m, err := session.New(d.store(t, d.open()), session.Options{
				Listed: true, Timeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler), // a slow machine is no outage here
			})
			if err != nil {
				t.Fatal(err)
			}
			managers, gateways = append(managers, m), append(gateways, m.Handler(shop()))
		}
		cookie := func(path string) string {
			return ask(t, gateways[0], path, "").Header().Get("Set-Cookie")
		}
		crowd := func(cookie string, path func(i int) string) {
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if w := ask(t, gateways[i%2], path(i), cookie); w.Code != http.StatusOK {
						t.Errorf("%s: %d %s", path(i), w.Code, w.Body)
					}
				})
			}
			wg.Wait()
		}

		cart := cookie("/add?sku=first")
		crowd(cart, func(i int) string { return fmt.Sprintf("/add?sku=n%d", i%50) })
		var found map[string]int
		if err := json.Unmarshal(ask(t, gateways[1], "/cart", cart).Body.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, n := range found {
			sum += n
		}
		if sum != 101 || len(found) != 51 {
			t.Errorf("%d pieces of %d items, want 101 of 51", sum, len(found))
		}

		crowd(cart, func(i int) string {
			if i == 50 {
				return "/logout"
			}
			return "/add?sku=late"
		})
		if got := ask(t, gateways[0], "/cart", cart).Body.String(); got != "null\n" {
			t.Errorf("after a logout: %s", got)
		}

		phone, laptop := cookie("/login?user=ann"), cookie("/login?user=ann")
		all, err := managers[1].Sessions(t.Context(), "ann")
		if err != nil || len(all) != 2 {
			t.Fatalf("listed: %v, %v", all, err)
		}
		if err := managers[1].End(t.Context(), "ann", all[0].ID); err != nil { // the latest
			t.Fatal(err)
		}
		if in, out := ask(t, gateways[0], "/who", phone).Body.String(), ask(t, gateways[0], "/who", laptop).Body.String(); in != "ann" || out != "" {
			t.Errorf("one ended: %q and %q", in, out)
		}
		if err := managers[0].Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if in := ask(t, gateways[1], "/who", phone).Body.String(); in != "" {
			t.Errorf("revoked: %q", in)
		}
	})
}

func shop() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/add", func(_ http.ResponseWriter, r *http.Request) {
		_ = session.Update(session.From(r.Context()), "cart", func(cart map[string]int, _ bool) (map[string]int, error) {
			if cart == nil {
				cart = make(map[string]int)
			}
			cart[r.FormValue("sku")]++
			return cart, nil
		}) // an error is answered by the manager
	})
	mux.HandleFunc("/cart", func(w http.ResponseWriter, r *http.Request) {
		cart, _, err := session.Value[map[string]int](session.From(r.Context()), "cart")
		if errors.Join(err, json.NewEncoder(w).Encode(cart)) != nil {
			panic(err)
		}
	})
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = errors.Join(s.Subject(r.FormValue("user")), s.Set("user", r.FormValue("user")))
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := session.Value[string](session.From(r.Context()), "user")
		_, _ = io.WriteString(w, user)
	})
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { _ = session.From(r.Context()).Destroy() })
	return mux
}

func ask(t *testing.T, h http.Handler, path, cookie string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "https://shop.example"+path, nil)
	pair, _, _ := strings.Cut(cookie, ";")
	r.Header.Set("Cookie", pair)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
