package cachetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

// The day of a page, as a test of one's own has it: it expires, is purged softly, and the
// backend dies.
func ExampleTable() {
	TestPage := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			origin := new(cachetest.Origin)
			origin.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
			pages, front := cachetest.Open(t, cache.Options{}, origin)
			soft := func() {
				if _, err := pages.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"product-42"}}); err != nil {
					t.Fatal(err)
				}
			}
			cachetest.Table(t, front,
				cachetest.Row{Target: "/product/42", Body: "10 €", From: "miss"},
				cachetest.Row{After: 59 * time.Minute, Target: "/product/42", From: "hit", Has: []string{"Age: 3540"}},
				cachetest.Row{After: 2 * time.Minute, Target: "/product/42", From: "miss", CacheStatus: "fwd=stale"},
				cachetest.Row{Do: soft, Target: "/product/42", From: "stale"},
				cachetest.Row{Target: "/product/42", From: "hit"},
				cachetest.Row{Do: origin.Die, After: 5 * time.Hour, Target: "/product/42", Body: "10 €", From: "stale"},
				cachetest.Row{Target: "/never-seen", Broken: true},
			)
		})
	}
	_ = TestPage // as a function of a _test.go file
}
