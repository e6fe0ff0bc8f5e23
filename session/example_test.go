package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/foretier/foretier/session"
)

type Cart map[string]int

func Example() {
	sessions, err := session.New(session.Memory(), session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		err := session.Update(s, "cart", func(cart Cart, _ bool) (Cart, error) {
			if cart == nil {
				cart = make(Cart)
			}
			cart[r.FormValue("sku")]++
			return cart, nil
		})
		if err != nil {
			return // the client gets 503 whatever is written here
		}
		cart, _, err := session.Value[Cart](s, "cart")
		fmt.Fprintln(w, cart, err)
	})

	w := httptest.NewRecorder()
	sessions.Handler(mux).ServeHTTP(w, httptest.NewRequest("POST", "https://shop.example/cart?sku=tea", nil))
	fmt.Print(w.Body)
	// Output: map[tea:1] <nil>
}

// "Keep me logged in", as a box of the login's form.
func ExampleSession_Remember() {
	sessions, err := session.New(session.Memory(), session.Options{Remember: 14 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	login := func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		user := r.FormValue("user") // whose password has been looked at
		if err := s.Subject(user); err != nil {
			return
		}
		if err := s.Remember(r.FormValue("remember") == "on"); err != nil {
			return
		}
		fmt.Fprintln(w, "welcome")
	}
	for _, path := range []string{"/login?user=ann", "/login?user=ann&remember=on"} {
		w := httptest.NewRecorder()
		sessions.Handler(http.HandlerFunc(login)).ServeHTTP(w, httptest.NewRequest("POST", "https://shop.example"+path, nil))
		fmt.Println(w.Result().Cookies()[0].MaxAge)
	}
	// Output:
	// 0
	// 1209600
}

// An app without cookies sends what it was given, in a field of its own.
func ExampleOptions_header() {
	sessions, err := session.New(session.Memory(), session.Options{Header: "Authorization"})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if s.Subject("ann") == nil && s.Set("name", "Ann") == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		name, _, err := session.Value[string](session.From(r.Context()), "name")
		fmt.Fprintf(w, "%q %v\n", name, err)
	})
	api := sessions.Handler(mux)

	login := httptest.NewRecorder()
	api.ServeHTTP(login, httptest.NewRequest("POST", "https://api.example/login", nil))
	given := login.Header().Get("Authorization")
	fmt.Println(strings.HasPrefix(given, "Bearer "), login.Header()["Set-Cookie"])
	for _, sent := range []string{given, "Bearer guessed"} {
		r := httptest.NewRequest("GET", "https://api.example/me", nil)
		r.Header.Set("Authorization", sent)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// true []
	// "Ann" <nil>
	// "" <nil>
}

// A page of one's devices, each of which can be logged out.
func ExampleManager_Sessions() {
	sessions, err := session.New(session.Memory(), session.Options{Listed: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if s.Subject("ann") == nil && s.Set("user", "ann") == nil && s.Set("browser", r.UserAgent()) == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		user, _, err := session.Value[string](s, "user")
		if err != nil {
			return
		}
		all, err := sessions.Sessions(r.Context(), user)
		for _, l := range all {
			browser, _, _ := session.Value[string](l, "browser")
			fmt.Fprintln(w, browser, l.Is(s), err) // and a button that posts l.ID
		}
	})
	mux.HandleFunc("POST /devices/{id}/end", func(w http.ResponseWriter, r *http.Request) {
		user, ok, err := session.Value[string](session.From(r.Context()), "user")
		if err != nil || !ok || sessions.End(r.Context(), user, r.PathValue("id")) != nil {
			http.Error(w, "not ended", http.StatusServiceUnavailable)
		}
	})

	shop := sessions.Handler(mux)
	var cookie string
	for _, browser := range []string{"phone", "laptop"} {
		r := httptest.NewRequest("POST", "https://shop.example/login", nil)
		r.Header.Set("User-Agent", browser)
		w := httptest.NewRecorder()
		shop.ServeHTTP(w, r)
		cookie = w.Header().Get("Set-Cookie")
	}
	r := httptest.NewRequest("GET", "https://shop.example/devices", nil)
	r.Header.Set("Cookie", cookie)
	w := httptest.NewRecorder()
	shop.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output:
	// laptop true <nil>
	// phone false <nil>
}

// A message that is shown once, on the next page.
func ExamplePop() {
	sessions, err := session.New(session.Memory(), session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Set("message", "Thank you!"); err != nil {
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		before, err := s.Keys()
		if err != nil {
			return
		}
		message, ok, err := session.Pop[string](s, "message")
		fmt.Fprintln(w, before, message, ok, err)
	})

	shop := sessions.Handler(mux)
	w := httptest.NewRecorder()
	shop.ServeHTTP(w, httptest.NewRequest("POST", "https://shop.example/order", nil))
	for range 2 {
		r := httptest.NewRequest("GET", "https://shop.example/", nil)
		r.Header.Set("Cookie", w.Header().Get("Set-Cookie"))
		w := httptest.NewRecorder()
		shop.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// [message] Thank you! true <nil>
	// []  false <nil>
}

func ExampleManager_Revoke() {
	sessions, err := session.New(session.Memory(), session.AdminOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	// A new password ends all sessions of the user, and begins this one anew.
	changePassword := func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		user, ok, err := session.Value[string](s, "user")
		if err != nil || !ok {
			http.Error(w, "log in first", http.StatusForbidden)
			return
		}
		if err := sessions.Revoke(r.Context(), user); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		_ = s.Subject(user) // an error answers the client by itself
	}
	_ = sessions.Handler(http.HandlerFunc(changePassword))
}

func ExampleNewSticky() {
	key := []byte("32 random bytes, read from a file")
	sticky, err := session.NewSticky(key, session.StickyOptions{Name: "shop_route"})
	if err != nil {
		log.Fatal(err)
	}
	// balancer.Options{Affinity: sticky} does the rest.
	r := httptest.NewRequest("POST", "https://shop.example/cart", nil)
	answer := http.Header{}
	sticky.Bind(answer, r, "web2")

	next := httptest.NewRequest("GET", "https://shop.example/", nil)
	next.Header.Set("Cookie", answer.Get("Set-Cookie"))
	name, _ := sticky.Choose(next)
	fmt.Println(name)
	// Output: web2
}
