package memcachestore_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/memcachestore"
	"github.com/foretier/foretier/session/storetest"
)

func TestContract(t *testing.T) {
	server := servertest.Memcached(t)
	client := memcache.New(server.Addr)
	client.MaxIdleConns = 32
	defer client.Close()
	store := memcachestore.New(client)
	defer store.Close()
	storetest.Run(t, func(*testing.T) session.Store { return store })
}

// TestMoreThan30Days: memcached takes a larger number of seconds for a
// date in 1970 and forgets the item at once.
func TestMoreThan30Days(t *testing.T) {
	server := servertest.Memcached(t)
	client := memcache.New(server.Addr)
	defer client.Close()
	store := memcachestore.New(client)
	defer store.Close()
	if err := store.Create(t.Context(), "a", []byte("cart"), 31*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	records, err := store.Load(t.Context(), "a")
	if err != nil || string(records[0].Data) != "cart" {
		t.Errorf("got %+v, %v", records, err)
	}
}

// TestAHungServerIsBounded: a hung server keeps nobody beyond the deadline,
// though the client library knows none, and Close waits for what was left.
func TestAHungServerIsBounded(t *testing.T) {
	server := servertest.Memcached(t)
	client := memcache.New(server.Addr)
	client.Timeout = 3 * time.Second
	defer client.Close()
	store := memcachestore.New(client)
	if err := store.Create(t.Context(), "a", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	var err error
	for begin := time.Now(); err == nil && time.Since(begin) < 20*time.Second; { // it may stop a moment later
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err = store.Load(ctx, "a")
		if took := time.Since(start); took >= client.Timeout {
			t.Errorf("took %v: the client's timeout, not the caller's", took)
		}
		cancel()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	server.Resume()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// TestForeignItem: what no session store wrote is an error that says what to
// do.
func TestForeignItem(t *testing.T) {
	server := servertest.Memcached(t)
	client := memcache.New(server.Addr)
	defer client.Close()
	store := memcachestore.New(client)
	defer store.Close()
	if err := client.Set(&memcache.Item{Key: "session:a", Value: []byte("short")}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), "a"); !errors.Is(err, session.ErrUnreadable) || !strings.Contains(err.Error(), "a memcached of its own") {
		t.Errorf("got %v", err)
	}
}

// TestServerErrors: SERVER_ERROR is the answer of a server that is there, but
// not where a proxy says that its server is not.
func TestServerErrors(t *testing.T) {
	cases := map[string]error{
		"SERVER_ERROR out of memory storing object":  session.ErrFull,
		"SERVER_ERROR object too large for cache":    session.ErrRefused,
		"SERVER_ERROR out of memory reading request": session.ErrFull,
		"SERVER_ERROR Connection timed out":          nil,
		"SERVER_ERROR Host is down":                  nil,
		"ERROR Too many open connections":            nil,
	}
	for line, want := range cases {
		client := memcache.New(testkit.Backend(t, func(c net.Conn) {
			if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				_, _ = io.WriteString(c, line+"\r\n")
			}
		}))
		store := memcachestore.New(client)
		_, load := store.Load(t.Context(), "a")
		for what, err := range map[string]error{"Load": load, "Create": store.Create(t.Context(), "a", nil, time.Minute)} {
			if want != nil && !errors.Is(err, want) || want == nil && (err == nil || errors.Is(err, session.ErrFull) || errors.Is(err, session.ErrRefused)) {
				t.Errorf("%s: %s: %v, want %v", line, what, err, want)
			}
		}
		client.Close()
		store.Close()
	}
}
