package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/router/edge/edgetest"
	"github.com/foretier/foretier/router/routertest"
	"github.com/foretier/foretier/session"
)

// inVirtualTime runs f with the whole shop, tier and servers, in a bubble and without a
// port.
func inVirtualTime(t *testing.T, f func(t *testing.T, shop *farm, tier *edgetest.Front)) {
	synctest.Test(t, func(t *testing.T) {
		var log edgetest.Log
		l := edgetest.Listen()
		here := func(h http.Handler) (*server, error) { return &server{handler: h}, nil }
		shop, err := newFarmOn(l, here, 0, session.Memory(), log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		tier := edgetest.Run(t, l, shop.srv, shop.Run)
		time.Sleep(time.Second) // of the bubble's: the servers have passed their probes
		f(t, shop, tier)
	})
}

func TestTheShopsFrontInVirtualTime(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, shop *farm, tier *edgetest.Front) {
		routertest.Reaches(t, tier, "origin", "/admin", "/cron.php")
		routertest.Table(t, tier,
			routertest.Row{Target: "/index.php/%61dmin", Status: 200, Has: []string{"X-Served-By: web0"}},
			routertest.Row{Target: "/media/none.png", Status: 404},
			routertest.Row{Target: "/../x"},
		)
		cachetest.Table(t, tier,
			cachetest.Row{Target: "/product/1", Status: 200, From: "miss"},
			cachetest.Row{After: 4 * time.Minute, Target: "/product/1", From: "hit"},
			cachetest.Row{Method: "POST", Target: "/admin/price?sku=1&price=5", Status: 200}, // purges the page
			cachetest.Row{Target: "/product/1", Body: "5.00", From: "miss"},
			cachetest.Row{After: 6 * time.Minute, Target: "/product/1", From: "miss", CacheStatus: "fwd=stale"},
		)

		ann := tier.Client("203.0.113.9")
		for _, step := range []struct {
			after time.Duration
			items string
		}{{0, `"1":1`}, {time.Hour, `"1":2`}} {
			time.Sleep(step.after) // of the bubble's
			res, err := ann.Post("http://shop.example/cart?sku=1", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := cart(t, ann); !strings.Contains(got, step.items) {
				t.Errorf("after %s the cart is %s, want %s in it", step.after, got, step.items)
			}
		}
	})
}

// cart is what a visitor has, as JSON.
func cart(t *testing.T, visitor *http.Client) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://shop.example/cart", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := visitor.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
