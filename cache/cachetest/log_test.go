package cachetest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/cache/feedtest"
)

func TestLogContract(t *testing.T) {
	feedtest.Run(t, func(*testing.T) feedtest.Log { return new(cachetest.Log).Join })
	t.Run("lost", func(t *testing.T) {
		log := new(cachetest.Log)
		feedtest.Lost(t, log.Join, log.Lose)
	})
}

func TestLogTrims(t *testing.T) {
	log := new(cachetest.Log)
	a := log.Join("a")
	var at []cache.Position
	for _, text := range []string{"a", "b", "c"} {
		p, err := a.Append(t.Context(), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
	}
	log.Trim(1)
	for i, want := range map[int]error{0: cache.ErrGap, 1: nil} {
		for e, err := range a.Follow(t.Context(), at[i]) {
			if !errors.Is(err, want) || err == nil && string(e.Data) != "c" {
				t.Errorf("after %d: %q, %v", at[i], e.Data, err)
			}
			break
		}
	}
}

func TestLogForgetsGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(cachetest.Log), "b"
		if _, err := a.Join(b).Announce(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} {
			if there, err := a.Join("a").Gateways(t.Context()); err != nil || len(there) != want {
				t.Errorf("%v, %v, want %d", there, err, want)
			}
			time.Sleep(16 * time.Second) // by the bubble's clock: until who says nothing counts as gone
		}
	})
}
