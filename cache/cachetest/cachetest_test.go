package cachetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

const url = "http://shop.example/product/42"

// The example of the package's documentation.
func TestPriceChangeWhileTheBackendIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		origin.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
		pages, front := cachetest.Open(t, cache.Options{}, origin)
		cachetest.Get(t, front, url).Want(t, 200, "10 €", "miss")

		origin.Set("/product/42", "12 €", "Cache-Control: max-age=3600")
		origin.Die()
		if _, err := pages.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"product-42"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		cachetest.Get(t, front, url).Want(t, 200, "10 €", "stale")

		synctest.Wait() // for the refresh, which fails
		origin.Live()
		time.Sleep(time.Minute)
		cachetest.Get(t, front, url).Want(t, 200, "12 €", "miss")
		cachetest.Get(t, front, url).Want(t, 200, "12 €", "hit")
	})
}

func TestOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		_, front := cachetest.Open(t, cache.Options{}, origin)
		cachetest.Get(t, front, url).Want(t, 404, "404 page not found\n", "miss")
		if n := origin.Calls("/product/42"); n != 1 {
			t.Errorf("%d calls", n)
		}
		origin.Set("/product/42", "10 €", "Cache-Control: max-age=60")
		cachetest.Get(t, front, url, "Connection: upgrade", "Upgrade: websocket").Want(t, 200, "10 €", "nowhere")
		origin.Stall()
		if got := cachetest.Get(t, front, "http://shop.example/other"); got.Status != 0 || !origin.Healthy(nil) {
			t.Errorf("stalled: %+v", got)
		}
	})
}
