package memcachestore_test

import (
	"log"
	"net/http"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/memcachestore"
)

func Example() {
	client := memcache.New("10.0.0.5:11211", "10.0.0.6:11211")
	client.MaxIdleConns = 100 // its default of 2 dials for nearly every call
	defer client.Close()
	sessions, err := session.New(memcachestore.New(client), session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	_ = sessions.Handler(http.NotFoundHandler())
}
