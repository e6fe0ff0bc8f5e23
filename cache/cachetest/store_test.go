package cachetest_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/cache/storetest"
)

func TestStoreContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return new(cachetest.Store).Join("a") })
}

func TestStoreLosesAndChanges(t *testing.T) {
	store := new(cachetest.Store)
	a, b := store.Join("a"), store.Join("b")
	for _, key := range []string{"k", "l"} {
		if err := a.Save(t.Context(), key, []byte(key), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	store.Change(func(key string, data []byte) []byte {
		if key == "l" {
			return nil
		}
		return append(data, '!')
	})
	if data, err := b.Load(t.Context(), "k"); err != nil || !bytes.Equal(data, []byte("k!")) {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := b.Load(t.Context(), "l"); !errors.Is(err, cache.ErrAbsent) {
		t.Error(err)
	}
	store.Lose()
	if _, err := b.Load(t.Context(), "k"); !errors.Is(err, cache.ErrAbsent) {
		t.Error(err)
	}
}
