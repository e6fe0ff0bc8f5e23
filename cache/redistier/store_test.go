package redistier_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/servertest"
)

// TestStoreBesideAHungServer: each call takes no longer than its budget.
func TestStoreBesideAHungServer(t *testing.T) {
	server := servertest.Redis(t)
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: heeds, ReadTimeout: 20 * time.Second})
			t.Cleanup(func() { client.Close() })
			tier := tierOf(t, client, 25*time.Millisecond)
			servertest.Until(t, "the first call", func(ctx context.Context) error { return tier.Save(ctx, "k", []byte("x"), time.Hour) })
			server.Pause()
			defer server.Resume()
			calls := map[string]func() error{
				"Load": func() error { _, err := tier.Load(t.Context(), "k"); return err },
				"Save": func() error { return tier.Save(t.Context(), "k", []byte("y"), time.Hour) },
				"Lease": func() error {
					_, err := tier.Lease(t.Context(), "k", "a", time.Hour)
					return err
				},
				"Release": func() error { return tier.Release(t.Context(), "k", "a") },
			}
			for name, call := range calls {
				failed := 0
				for begin := time.Now(); failed < 3 && time.Since(begin) < 20*time.Second; { // it may stop a moment later
					begin := time.Now()
					if err := call(); err != nil {
						failed++
					}
					if took := time.Since(begin); took > 2*time.Second {
						t.Errorf("%s took %v", name, took)
					}
				}
				if failed < 3 {
					t.Errorf("%s: a server that is stopped answers", name)
				}
			}
		})
	}
}

// TestStoreOfForeignKeys: what is no page's is taken for nothing, however large, and
// makes room for one.
func TestStoreOfForeignKeys(t *testing.T) {
	client := open(t, servertest.Redis(t).Addr)
	tier := tierOf(t, client, patient)
	cases := map[string][]any{
		"a list":          {"rpush", "test:page:k", "a", "b"},
		"an empty string": {"set", "test:page:k", ""},
		"64 MiB":          {"setrange", "test:page:k", 64<<20 - 1, "x"},
	}
	for name, command := range cases {
		t.Run(name, func(t *testing.T) {
			do(t, client, command...)
			if data, err := tier.Load(t.Context(), "k"); !errors.Is(err, cache.ErrAbsent) {
				t.Errorf("got %d bytes, %v", len(data), err)
			}
			if err := tier.Save(t.Context(), "k", []byte("page"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if data, err := tier.Load(t.Context(), "k"); err != nil || string(data) != "page" {
				t.Errorf("got %q, %v", data, err)
			}
			do(t, client, "del", "test:page:k")
		})
	}
	for name, data := range map[string][]byte{"nothing": nil, "too much": make([]byte, 2<<20+1)} {
		if err := tier.Save(t.Context(), "k", data, time.Hour); err == nil {
			t.Errorf("%s is saved", name)
		}
	}
}

// TestStoreThatTakesNothing: what is there is served, and what is refused is said.
func TestStoreThatTakesNothing(t *testing.T) {
	cases := map[string]struct {
		command []any
		says    string
	}{
		"out of memory": {[]any{"config", "set", "maxmemory", "1"}, "OOM"},
		"a replica":     {[]any{"replicaof", "127.0.0.1", "1"}, "READONLY"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client := open(t, servertest.Redis(t).Addr)
			tier := tierOf(t, client, patient)
			if err := tier.Save(t.Context(), "k", []byte("page"), time.Hour); err != nil {
				t.Fatal(err)
			}
			do(t, client, c.command...)
			if err := tier.Save(t.Context(), "k", []byte("new"), time.Hour); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Save: %v", err)
			}
			if _, err := tier.Lease(t.Context(), "k", "a", time.Hour); err == nil {
				t.Error("a lease is given")
			}
			if data, err := tier.Load(t.Context(), "k"); err != nil || string(data) != "page" {
				t.Errorf("Load: %q, %v", data, err)
			}
		})
	}
}
