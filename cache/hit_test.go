package cache

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestFreshHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		w := get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if got := w.Header().Get("Cache-Status"); got != "Foretier; fwd=uri-miss; fwd-status=200; stored" {
			t.Errorf("Cache-Status of a miss: %s", got)
		}
		time.Sleep(7 * time.Second)
		w = get(h, "http://a.example/x")
		want(t, w, 200, "answer 1")
		if w.Header().Get("Age") != "7" || w.Header().Get("Cache-Status") != "Foretier; hit; ttl=53" {
			t.Errorf("header of a hit: %v", w.Header())
		}
		if got := w.Header().Get("Content-Length"); got != "8" {
			t.Errorf("Content-Length: %q", got)
		}
		time.Sleep(54 * time.Second)
		want(t, get(h, "http://a.example/x"), 200, "answer 2")
	})
}

func TestNothingStatedNothingStored(t *testing.T) {
	b := &backend{}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "answer 2")
}
