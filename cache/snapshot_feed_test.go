package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

// products sets five pages to what they are worth.
func products(o *cachetest.Origin, body string) {
	for i := range 5 {
		o.Set(fmt.Sprintf("/%d", i), fmt.Sprintf("%s %d", body, i), "Cache-Control: max-age=36000", fmt.Sprintf("Cache-Tag: p%d", i))
	}
}

func product(i int) string { return fmt.Sprintf("http://shop.example/%d", i) }

// restart starts a gateway with the snapshot of another.
func restart(t *testing.T, log *cachetest.Log, name, path string, opts cache.Options, backend http.Handler) *member {
	t.Helper()
	c, err := cache.New(withFeed(opts, log.Join(name)))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Load(t.Context(), path); n != 5 || err != nil {
		t.Fatalf("%d responses, %v", n, err)
	}
	return run(t, c, backend)
}

// TestSnapshotAndPurgesMeanwhile: a gateway that was away finds out from the log what
// was purged meanwhile, and serves the rest as it was. If the log cannot say, all is in
// doubt.
func TestSnapshotAndPurgesMeanwhile(t *testing.T) {
	cases := map[string]struct {
		meanwhile func(t *testing.T, log *cachetest.Log, other *member)
		want      [5]string // from where the pages come
	}{
		"nothing": {func(*testing.T, *cachetest.Log, *member) {}, [5]string{"hit", "hit", "hit", "hit", "hit"}},
		"purged": {func(t *testing.T, _ *cachetest.Log, other *member) {
			if _, err := other.Invalidate(t.Context(), cache.Invalidation{URL: product(0), Hard: true},
				cache.Invalidation{Tags: []string{"p1"}, Hard: true}, cache.Invalidation{URL: product(2)}); err != nil {
				t.Error(err)
			}
		}, [5]string{"miss", "miss", "stale", "hit", "hit"}},
		"by a gateway that has gone": {func(t *testing.T, log *cachetest.Log, other *member) {
			other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"p1"}, Hard: true})
			other.stop()
			time.Sleep(time.Hour)
		}, [5]string{"hit", "miss", "hit", "hit", "hit"}},
		"more than the log holds": {func(t *testing.T, log *cachetest.Log, other *member) {
			other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"p1"}, Hard: true}, cache.Invalidation{Tags: []string{"none"}})
			log.Trim(1)
		}, [5]string{"stale", "stale", "stale", "stale", "stale"}},
		"a log that was lost": {func(t *testing.T, log *cachetest.Log, other *member) {
			other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"p1"}, Hard: true})
			log.Lose()
		}, [5]string{"stale", "stale", "stale", "stale", "stale"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &cachetest.Log{Link: func(string) (time.Duration, error) { return 3 * time.Millisecond, nil }}
				origin := new(cachetest.Origin)
				products(origin, "old")
				one, other := join(t, log, "one", cache.Options{}, origin), join(t, log, "other", cache.Options{}, origin)
				time.Sleep(time.Second)
				other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"some"}})
				for i := range 5 {
					cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("old ", i), "miss")
				}
				path := filepath.Join(t.TempDir(), "pages")
				one.stop()
				if n, err := one.Save(t.Context(), path); n != 5 || err != nil {
					t.Fatalf("%d responses, %v", n, err)
				}
				products(origin, "new")
				c.meanwhile(t, log, other)

				one = restart(t, log, "one", path, cache.Options{}, origin)
				for i := range 5 { // the log has not answered yet
					cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("old ", i), "stale")
				}
				time.Sleep(5 * time.Second)
				for i, want := range c.want {
					body := "old"
					if want == "miss" {
						body = "new"
					}
					cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint(body, " ", i), want)
					synctest.Wait()
					if want == "stale" {
						cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("new ", i), "hit")
					}
				}
				if n := metric(one, "gaps_total"); (n > 0) != (c.want[4] == "stale") {
					t.Errorf("%v gaps", n)
				}
			})
		})
	}
}

// TestSnapshotWhileTheFeedIsGone: a gateway that starts while the log cannot be asked
// serves what it has, for as long as that lasts, and knows afterwards.
func TestSnapshotWhileTheFeedIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		log := &cachetest.Log{Link: func(gateway string) (time.Duration, error) {
			if gone.Load() && gateway == "one" {
				return 25 * time.Millisecond, errors.New("lost")
			}
			return time.Millisecond, nil
		}}
		origin := new(cachetest.Origin)
		products(origin, "old")
		one, other := join(t, log, "one", cache.Options{}, origin), join(t, log, "other", cache.Options{}, origin)
		time.Sleep(time.Second)
		for i := range 5 {
			cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("old ", i), "miss")
		}
		path := filepath.Join(t.TempDir(), "pages")
		for range 3 { // three restarts, of which none has heard of the log
			one.stop()
			if _, err := one.Save(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			gone.Store(true)
			one = restart(t, log, "one", path, cache.Options{}, origin)
			time.Sleep(2 * time.Second)
		}
		if _, err := other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"p1"}, Hard: true}); err != nil {
			t.Fatal(err)
		}
		products(origin, "new")
		cachetest.Get(t, one.front, product(1)).Want(t, 200, "old 1", "stale")
		time.Sleep(time.Minute)
		cachetest.Get(t, one.front, product(2)).Want(t, 200, "old 2", "stale") // and is refreshed
		gone.Store(false)
		time.Sleep(5 * time.Second)
		cachetest.Get(t, one.front, product(2)).Want(t, 200, "new 2", "hit")
		cachetest.Get(t, one.front, product(1)).Want(t, 200, "new 1", "miss")
		cachetest.Get(t, one.front, product(3)).Want(t, 200, "old 3", "hit")
	})
}

// TestSnapshotOfWhatWasInDoubt: what a gap has put in doubt is so after a restart, though
// nothing is missing since.
func TestSnapshotOfWhatWasInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(cachetest.Log)
		origin := new(cachetest.Origin)
		products(origin, "old")
		one := join(t, log, "one", cache.Options{}, origin)
		time.Sleep(time.Second)
		for i := range 5 {
			cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("old ", i), "miss")
		}
		products(origin, "new")
		log.Lose()
		time.Sleep(5 * time.Second)
		cachetest.Get(t, one.front, product(4)).Want(t, 200, "old 4", "stale") // and is refreshed
		time.Sleep(time.Second)
		path := filepath.Join(t.TempDir(), "pages")
		one.stop()
		if _, err := one.Save(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		one = restart(t, log, "one", path, cache.Options{}, origin)
		time.Sleep(2 * time.Second)
		cachetest.Get(t, one.front, product(4)).Want(t, 200, "new 4", "hit")
		cachetest.Get(t, one.front, product(1)).Want(t, 200, "old 1", "stale")
	})
}

// TestSnapshotLoadedLate: a cache that follows the feed already cannot go back to where
// the snapshot was, so nothing is proved. Nor is it by a feed of which it has none.
func TestSnapshotLoadedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(cachetest.Log)
		origin := new(cachetest.Origin)
		products(origin, "old")
		one, other := join(t, log, "one", cache.Options{}, origin), join(t, log, "other", cache.Options{}, origin)
		time.Sleep(time.Second)
		for i := range 5 {
			cachetest.Get(t, one.front, product(i)).Want(t, 200, fmt.Sprint("old ", i), "miss")
		}
		path := filepath.Join(t.TempDir(), "pages")
		if _, err := one.Save(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"p1"}, Hard: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n, err := other.Load(t.Context(), path); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		alone, front := cachetest.Open(t, cache.Options{}, origin)
		if n, err := alone.Load(t.Context(), path); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		time.Sleep(2 * time.Second)
		for _, h := range []http.Handler{other.front, front} {
			cachetest.Get(t, h, product(1)).Want(t, 200, "old 1", "stale")
			cachetest.Get(t, h, product(2)).Want(t, 200, "old 2", "stale")
		}
		// One that has not run follows nothing, and is cut off.
		c, err := cache.New(withFeed(cache.Options{}, log.Join("three")))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Load(context.Background(), path); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		cachetest.Get(t, c.Handler(origin), product(2)).Want(t, 200, "old 2", "stale")
	})
}
