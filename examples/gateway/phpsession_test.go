package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
)

// TestOneUnreadablePHPSession: its visitor gets fresh answers, however often they
// ask, and everybody else what they got before.
func TestOneUnreadablePHPSession(t *testing.T) {
	store := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: store.Addr})
	defer client.Close()
	const guest, broken = "bbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccc"
	if err := client.Set(t.Context(), "PHPREDIS_SESSION:"+guest, `user|N;`, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.LPush(t.Context(), "PHPREDIS_SESSION:"+broken, "no session").Err(); err != nil {
		t.Fatal(err)
	}
	var rendered atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=60")
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	})
	addr, _ := startGateway(t, "-backends", backend, "-redis", "redis://"+store.Addr, "-cache-bypass-session", "user")
	visit := func(id string) string {
		_, body := ask(t, "http://"+addr+"/", []*http.Cookie{{Name: "PHPSESSID", Value: id}})
		return body
	}
	shared := visit(guest)
	for range 40 {
		if own := visit(broken); own == shared {
			t.Fatalf("nobody knows who it is, and yet %q is shared", own)
		}
	}
	if again := visit(guest); again != shared {
		t.Errorf("after that a guest got %q, before %q", again, shared)
	}
}
