package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/foretier/foretier/session"
)

// A payment, once, however often the button is pressed and on whichever server.
func ExampleSession_Lock() {
	sessions, err := session.New(session.Memory(), session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	pay := sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if err := s.Lock(); err != nil {
			return // the client gets 503 whatever is written here
		}
		if paid, _, err := session.Value[bool](s, "paid"); err != nil || paid {
			fmt.Fprintln(w, "paid already", err)
			return
		}
		// ... the payment, which no other request of this visitor's makes now ...
		if err := s.Set("paid", true); err != nil {
			return
		}
		fmt.Fprintln(w, "paid")
	}))
	var cookies []*http.Cookie
	for range 2 {
		r := httptest.NewRequest("POST", "https://shop.example/pay", nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		pay.ServeHTTP(w, r)
		cookies = append(cookies, w.Result().Cookies()...)
		fmt.Print(w.Body)
	}
	// Output:
	// paid
	// paid already <nil>
}

// A new key for pins: those made with the old one hold on, and are made anew as they are
// renewed.
func ExampleStickyOptions() {
	old, next := []byte(strings.Repeat("o", 32)), []byte(strings.Repeat("n", 32))
	sticky, err := session.NewSticky(next, session.StickyOptions{Previous: old, Key: session.ByCookie("sid")})
	if err != nil {
		log.Fatal(err)
	}
	before, err := session.NewSticky(old, session.StickyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://shop.example/cart", nil)
	w := httptest.NewRecorder()
	before.Bind(w.Header(), r, "web2")
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	name, _ := sticky.Choose(r)
	fmt.Println(name)
	// Output: web2
}

// With the store down, pages that only show who is logged in are served all the same; what
// changes something is answered 503.
func ExampleOptions() {
	sessions, err := session.New(session.Memory(), session.Options{
		Degrade: func(r *http.Request) bool { return r.Method == "GET" && !strings.HasPrefix(r.URL.Path, "/account") },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sessions.Close())
	// Output: <nil>
}
