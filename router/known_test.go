package router

import (
	"crypto/sha256"
	"testing"
	"time"
)

// TestKnown: it is small whatever comes, and what is over goes first.
func TestKnown(t *testing.T) {
	var k known[int]
	now := time.Unix(1e9, 0)
	hash := func(n int) [sha256.Size]byte { return [sha256.Size]byte{byte(n), byte(n >> 8), byte(n >> 16)} }
	if _, ok := k.find(hash(1), now); ok {
		t.Error("it is known from the beginning")
	}
	for n := range 1000 {
		k.keep(hash(n), n, time.Hour, now)
	}
	for n := 1000; n < maxKnown; n++ {
		k.keep(hash(n), n, time.Second, now)
	}
	now = now.Add(time.Second)
	if v, ok := k.find(hash(999), now); !ok || v != 999 {
		t.Errorf("got %d, %v", v, ok)
	}
	if _, ok := k.find(hash(1000), now); ok {
		t.Error("what is over is known")
	}
	k.keep(hash(1e6), 1, time.Hour, now)
	for n := range 1000 {
		if _, ok := k.find(hash(n), now); !ok {
			t.Fatalf("%d is forgotten before what was over", n)
		}
	}
	for n := range 3 * maxKnown {
		k.keep(hash(n), n, time.Hour, now)
		if v, ok := k.find(hash(n), now); !ok || v != n || len(k.of) > maxKnown {
			t.Fatalf("%d of %d: %d, %v", n, len(k.of), v, ok)
		}
	}
}
