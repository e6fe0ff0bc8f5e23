// Command backend is a small shop for the chaos test: it takes 20 ms for a
// page, writes each order that it executes to a file, and answers 500 for as
// long as it is told to.
//
//	backend ADDRESS ORDERS
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: backend ADDRESS ORDERS")
	}
	orders, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	var broken atomic.Int64 // until when, in ns
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("POST /break", func(_ http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("for"))
		if err != nil {
			log.Print(err)
		}
		broken.Store(time.Now().Add(d).UnixNano())
	})
	http.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().UnixNano() < broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		time.Sleep(20 * time.Millisecond) // what a page costs
		fmt.Fprint(w, "page")
	})
	http.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // what an order costs
		// One write, so that orders do not mix; then whatever happens to the
		// answer.
		if _, err := orders.WriteString(r.URL.Query().Get("id") + "\n"); err != nil {
			log.Print(err)
		}
		if time.Now().UnixNano() < broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
