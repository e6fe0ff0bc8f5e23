package benchmarks

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/redisstore"
)

func init() { gob.Register(map[string]int{}) }

// A side is one library, with the same small shop on it:
//
//	/plain  uses no session
//	/read   reads the cart, as JSON
//	/add    puts one more of the sku into it
//	/login  notes who it is, under a new id
//	/logout
type side struct {
	name string
	new  func(testing.TB, *redis.Client) http.Handler
}

const idle, lifetime = 30 * time.Minute, 12 * time.Hour

var sides = []side{
	{"foretier", foretier},
	{"scs, as it comes", func(_ testing.TB, c *redis.Client) http.Handler { return scsShop(c, 0) }},
	{"scs, IdleTimeout", func(_ testing.TB, c *redis.Client) http.Handler { return scsShop(c, idle) }},
}

func foretier(tb testing.TB, client *redis.Client) http.Handler {
	m, err := session.New(redisstore.New(client), session.Options{Idle: idle, Lifetime: lifetime})
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", plain)
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		cart, _, err := session.Value[map[string]int](session.From(r.Context()), "cart")
		answer(w, cart, err)
	})
	mux.HandleFunc("/add", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "", session.Update(session.From(r.Context()), "cart", func(cart map[string]int, _ bool) (map[string]int, error) {
			if cart == nil {
				cart = map[string]int{}
			}
			cart[r.FormValue("sku")]++
			return cart, nil
		}))
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		answer(w, "", errors.Join(s.Subject("ann"), s.Set("user", "ann")))
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "", session.From(r.Context()).Destroy())
	})
	return m.Handler(mux)
}

func scsShop(client *redis.Client, idle time.Duration) http.Handler {
	m := scs.New()
	m.Store = goredisstore.New(client)
	m.IdleTimeout, m.Lifetime = idle, lifetime
	m.Cookie.Name = "__Host-sid" // Secure is left off: the requests here are made by hand
	mux := http.NewServeMux()
	cart := func(ctx context.Context) map[string]int {
		cart, _ := m.Get(ctx, "cart").(map[string]int)
		if cart == nil {
			cart = map[string]int{}
		}
		return maps.Clone(cart)
	}
	mux.HandleFunc("/plain", plain)
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) { answer(w, cart(r.Context()), nil) })
	mux.HandleFunc("/add", func(w http.ResponseWriter, r *http.Request) {
		c := cart(r.Context())
		c[r.FormValue("sku")]++
		m.Put(r.Context(), "cart", c)
		answer(w, "", nil)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		err := m.RenewToken(r.Context())
		m.Put(r.Context(), "user", "ann")
		answer(w, "", err)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { answer(w, "", m.Destroy(r.Context())) })
	return m.LoadAndSave(mux)
}

func plain(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

// do sends one request with a session cookie, if any, and returns the answer
// and the cookie that holds after it.
func do(h http.Handler, path, cookie string) (*httptest.ResponseRecorder, string) {
	r := httptest.NewRequest("POST", "https://shop.example"+path, nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: cookie})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		cookie = c.Value
	}
	return w, cookie
}

func client(tb testing.TB, server *servertest.Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, PoolSize: 100})
	tb.Cleanup(func() { c.Close() })
	return c
}
