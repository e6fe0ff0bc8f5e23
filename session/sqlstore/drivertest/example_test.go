package drivertest

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/sqlstore"
)

// A shop whose carts are in a file of SQLite, by the driver modernc.org/sqlite: they are
// there after a restart. The store imports no driver; this module does.
func Example() {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "sessions.db")

	var cookies []*http.Cookie
	for range 2 { // each is the shop, started anew
		cookies = visit(file, cookies)
	}
	// Output:
	// tea: 1
	// tea: 2
}

// visit starts the shop on a database, puts tea into a visitor's cart, and ends it.
func visit(file string, cookies []*http.Cookie) []*http.Cookie {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTable(context.Background()); err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New(store, session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	cart := sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		err := session.Update(s, "tea", func(n int, _ bool) (int, error) { return n + 1, nil })
		if err != nil {
			return // the client gets 503 whatever is written here
		}
		n, _, err := session.Value[int](s, "tea")
		if err != nil {
			return
		}
		fmt.Println("tea:", n)
	}))
	r := httptest.NewRequest("POST", "https://shop.example/cart", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	cart.ServeHTTP(w, r)
	return append(cookies, w.Result().Cookies()...)
}
