package cache

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyWaitForOnePage: who comes when very many wait already waits as they
// do, and nobody is refused.
func TestManyWaitForOnePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			time.Sleep(4 * time.Second)
			w.Write([]byte("page"))
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for range 3000 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "page") })
		}
		wg.Wait()
		if n := b.calls.Load(); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
}
