package redisstorage

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
)

func connect(t *testing.T, server *servertest.Server) *Storage {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return New(client, "")
}

func TestStorage(t *testing.T) {
	ctx := t.Context()
	s := connect(t, servertest.Redis(t))
	if _, err := s.Load(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := s.Stat(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if err := s.Delete(ctx, "a/b"); err != nil {
		t.Error(err)
	}
	began := time.Now().Truncate(time.Millisecond)
	for key, value := range map[string]string{"a/b/c": "1", "a/b/d": "\x00\xff", "a/e": "", "ab": "4", "f": "5"} {
		if err := s.Store(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(ctx, key); string(got) != value || err != nil {
			t.Errorf("%s: %q, %v", key, got, err)
		}
		info, err := s.Stat(ctx, key)
		if err != nil || info.Key != key || info.Size != int64(len(value)) || !info.IsTerminal || info.Modified.Before(began) || info.Modified.After(time.Now()) {
			t.Errorf("%s: %+v, %v", key, info, err)
		}
	}
	if info, err := s.Stat(ctx, "a/b"); err != nil || info.IsTerminal {
		t.Errorf("a folder: %+v, %v", info, err)
	}
	for _, c := range []struct {
		path      string
		recursive bool
		want      []string
	}{
		{"", false, []string{"a", "ab", "f"}},
		{"a", false, []string{"a/b", "a/e"}},
		{"a/b", false, []string{"a/b/c", "a/b/d"}},
		{"a", true, []string{"a/b", "a/b/c", "a/b/d", "a/e"}},
		{"x", true, nil},
	} {
		got, err := s.List(ctx, c.path, c.recursive)
		slices.Sort(got)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s, %v: %q, %v, want %q", c.path, c.recursive, got, err, c.want)
		}
	}
	if err := s.Delete(ctx, "a"); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]bool{"a": false, "a/b": false, "a/b/c": false, "ab": true, "f": true} {
		if got := s.Exists(ctx, key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
	if err := s.client.HSet(ctx, s.prefix, "odd", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(ctx, "odd"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what another has written: %v", err)
	}
}

// TestOneHasTheLock of two gateways, until it gives it back or dies.
func TestOneHasTheLock(t *testing.T) {
	ctx := t.Context()
	server := servertest.Redis(t)
	a, b := connect(t, server), connect(t, server)
	if err := a.Lock(ctx, "order"); err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(ctx, "another"); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := b.Lock(short, "order"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the other's lock: %v", err)
	}
	if err := b.Unlock(ctx, "order"); err == nil {
		t.Error("the other's lock was given back")
	}
	got := make(chan error, 1)
	go func() { got <- b.Lock(ctx, "order") }()
	ended, end := context.WithCancel(ctx)
	end()
	if err := a.Unlock(ended, "order"); err != nil { // though what it was for has ended
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	// A lock that is not renewed ends by itself, and is not given back for another.
	left, err := b.client.PTTL(ctx, b.lockKey("order")).Result()
	if err != nil || left <= lockTime/2 || left > lockTime {
		t.Errorf("it ends in %s: %v", left, err)
	}
	if err := b.client.Set(ctx, b.lockKey("order"), "another's", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Unlock(ctx, "order"); err != nil {
		t.Error(err)
	}
	if got, err := b.client.Get(ctx, b.lockKey("order")).Result(); got != "another's" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWithoutRedis: that nothing is known is not that nothing is there, which would be
// ordered.
func TestWithoutRedis(t *testing.T) {
	server := servertest.Redis(t)
	s := connect(t, server)
	server.Kill()
	_, load := s.Load(t.Context(), "a")
	_, stat := s.Stat(t.Context(), "a")
	_, list := s.List(t.Context(), "a", true)
	for name, err := range map[string]error{
		"load": load, "stat": stat, "list": list, "store": s.Store(t.Context(), "a", nil), "delete": s.Delete(t.Context(), "a"), "lock": s.Lock(t.Context(), "a"),
	} {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
