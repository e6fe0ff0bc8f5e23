package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/health"
)

// A tier is gateways with one log, one second level and one backend.
type tier struct {
	t      *testing.T
	log    *cachetest.Log
	store  *cachetest.Store
	origin http.Handler
	opts   cache.Options
}

func newTier(t *testing.T, origin http.Handler) *tier {
	return &tier{t: t, log: new(cachetest.Log), store: new(cachetest.Store), origin: origin}
}

func (x *tier) join(name string) *member {
	x.t.Helper()
	opts := x.opts
	if opts.Store == nil {
		opts.Store = x.store.Join(name)
	}
	g := join(x.t, x.log, name, opts, x.origin)
	time.Sleep(100 * time.Millisecond) // until it has heard of the feed
	return g
}

// saved waits until what was stored is in the second level.
func saved() { time.Sleep(100 * time.Millisecond) }

// inTier runs a test of two gateways, of which one has fetched a page.
func inTier(t *testing.T, test func(t *testing.T, x *tier, origin *cachetest.Origin, a *member)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		price(origin, "old", "Etag: \"1\"")
		x := newTier(t, origin)
		a := x.join("a")
		a.want(t, "old", "miss")
		saved()
		test(t, x, origin, a)
	})
}

func TestAColdGatewayServesWhatOthersHave(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		b := x.join("b")
		origin.Die()
		if d := health.Explain(b.front, httptest.NewRequest("GET", page, nil)); d.Verdict != "miss" || !slices.Contains(d.Steps, "the second level is asked first") {
			t.Errorf("explained as %+v", d)
		}
		cachetest.Get(t, b.front, page, "Cookie: visitor=1").Want(t, 200, "old", "hit")
		b.want(t, "old", "hit")
		if n := origin.Calls("/p"); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
		if hits, saved := metric(b, "copies_found_total"), metric(a, "copies_saved_total"); hits != 1 || saved != 1 {
			t.Errorf("%v hits, %v saved", hits, saved)
		}
		// What came from there is purged as what was fetched.
		purgePage(t, a)
		synctest.Wait()
		cachetest.Get(t, b.front, page).Want(t, 0, "", "nowhere")
	})
}

func TestVariantsInTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		x := newTier(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", "X-Currency, Accept-Language")
			fmt.Fprint(w, r.Header.Get("X-Currency"))
		}))
		a := x.join("a")
		for _, currency := range []string{"EUR", "CHF"} {
			cachetest.Get(t, a.front, page, "X-Currency: "+currency).Want(t, 200, currency, "miss")
		}
		saved()
		b := x.join("b")
		for _, currency := range []string{"CHF", "EUR", "CHF"} {
			cachetest.Get(t, b.front, page, "X-Currency: "+currency).Want(t, 200, currency, "hit")
		}
		cachetest.Get(t, b.front, page, "X-Currency: USD").Want(t, 200, "USD", "miss")
		if n := calls.Load(); n != 3 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
}

// TestTheSecondLevelBehindASnapshot: a gateway that goes on where its snapshot was knows
// as much of the log as one that begins.
func TestTheSecondLevelBehindASnapshot(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		var snapshot bytes.Buffer
		if _, err := a.SaveTo(t.Context(), &snapshot); err != nil {
			t.Fatal(err)
		}
		origin.Set("/kept", "kept", "Cache-Control: max-age=3600")
		origin.Set("/purged", "old", "Cache-Control: max-age=3600")
		for _, path := range []string{"/kept", "/purged"} {
			cachetest.Get(t, a.front, "http://shop.example"+path)
		}
		saved()
		if _, err := a.Invalidate(t.Context(), cache.Invalidation{URL: "http://shop.example/purged", Hard: true}); err != nil {
			t.Fatal(err)
		}
		c, err := cache.New(withFeed(cache.Options{Store: x.store.Join("b")}, x.log.Join("b")))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.LoadFrom(t.Context(), snapshot.Bytes()); n != 1 || err != nil {
			t.Fatalf("%d responses, %v", n, err)
		}
		b := run(t, c, origin)
		saved()
		origin.Set("/purged", "new", "Cache-Control: max-age=3600")
		b.want(t, "old", "hit")
		cachetest.Get(t, b.front, "http://shop.example/kept").Want(t, 200, "kept", "hit")
		cachetest.Get(t, b.front, "http://shop.example/purged").Want(t, 200, "new", "miss")
		if n := origin.Calls("/kept"); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
}

// TestRulesOfAnotherVersion: what is stored by other rules is another's.
func TestRulesOfAnotherVersion(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		x.opts.Rules.Version = "2"
		x.join("b").want(t, "old", "miss")
		saved()
		x.join("c").want(t, "old", "hit")
	})
}

// TestWhatIsNotForTheSecondLevel: parts, what is to be validated each time, and what is
// private stay where they are.
func TestWhatIsNotForTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		x := newTier(t, origin)
		a := x.join("a")
		for i, control := range []string{"private, max-age=60", "no-store", "no-cache"} {
			path := fmt.Sprint("/", i)
			origin.Set(path, control, "Cache-Control: "+control, `Etag: "1"`)
			cachetest.Get(t, a.front, "http://shop.example"+path).Want(t, 200, control, "miss")
		}
		origin.Set("/large", strings.Repeat("x", 3<<20), "Cache-Control: max-age=60")
		cachetest.Get(t, a.front, "http://shop.example/large")
		saved()
		if n := metric(a, "copies_saved_total"); n != 0 {
			t.Errorf("%v saved", n)
		}
	})
}

// TestAPurgeBeatsTheSecondLevel: what was invalidated is not served as fresh, by
// whichever gateway, however it comes back.
func TestAPurgeBeatsTheSecondLevel(t *testing.T) {
	url := cache.Invalidation{URL: page}
	hard := cache.Invalidation{URL: page, Hard: true}
	tag := cache.Invalidation{Tags: []string{"product"}, Hard: true}
	for name, inv := range map[string]cache.Invalidation{"soft": url, "hard": hard, "tag": tag, "all": {All: true}} {
		t.Run(name, func(t *testing.T) {
			inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
				there := x.join("there") // without the page
				done, err := a.Invalidate(t.Context(), inv)
				if err != nil {
					t.Fatal(err)
				}
				if err := there.Synced(t.Context(), done.Position); err != nil {
					t.Fatal(err)
				}
				price(origin, "new", "Etag: \"2\"")
				there.want(t, "new", "miss")
				saved()
				late := x.join("late") // has it all from the log, and the new page
				origin.Die()
				late.want(t, "new", "hit")
			})
			inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
				if _, err := a.Invalidate(t.Context(), inv); err != nil {
					t.Fatal(err)
				}
				late := x.join("late") // knows of the purge by the log alone
				price(origin, "new", "Etag: \"2\"")
				late.want(t, "new", "miss")
			})
		})
	}
}

// TestASoftPurgeLeavesTheSecondLevelForErrors: it may be served while the backend fails,
// and no longer as if it were within grace.
func TestASoftPurgeLeavesTheSecondLevelForErrors(t *testing.T) {
	for _, hard := range []bool{false, true} {
		inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
			if _, err := a.Invalidate(t.Context(), cache.Invalidation{URL: page, Hard: hard}); err != nil {
				t.Fatal(err)
			}
			b := x.join("b")
			cachetest.Get(t, b.front, page, "Cookie: c=1").Want(t, 200, "old", "miss")
			b = x.join("b") // of which the purge is just as old
			origin.Die()
			if hard {
				cachetest.Get(t, b.front, page).Want(t, 0, "", "nowhere")
				return
			}
			b.want(t, "old", "stale")
		})
	}
}

// TestOwnPurgesAreKnownBeforeTheFeedIs: what a gateway has invalidated does not come
// back to it although nobody could be told yet; nor what it never got to tell.
func TestOwnPurgesAreKnownBeforeTheFeedIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		price(origin, "old")
		x := newTier(t, origin)
		var broken atomic.Bool
		x.log.Link = func(string) (time.Duration, error) {
			if broken.Load() {
				return 0, errors.New("lost")
			}
			return 0, nil
		}
		a := x.join("a")
		a.want(t, "old", "miss")
		saved()
		broken.Store(true)
		if _, err := a.Invalidate(t.Context(), cache.Invalidation{URL: page, Hard: true}); !errors.Is(err, cache.ErrNotShared) {
			t.Fatal(err)
		}
		price(origin, "new")
		a.want(t, "new", "miss")
		saved()

		// So many that there is no room for the last of them.
		for i := range 2000 {
			r := httptest.NewRequest("POST", fmt.Sprint(page, i), nil)
			a.front.ServeHTTP(httptest.NewRecorder(), r)
		}
		price(origin, "newer")
		a.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", page, nil))
		a.want(t, "newer", "miss")
		price(origin, "newest")
		a.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", page, nil))
		broken.Store(false)
		time.Sleep(3 * time.Second)
		// What comes back says that what was dropped before is over.
		if _, err := a.Invalidate(t.Context(), cache.Invalidation{URL: page + "?other"}); err != nil {
			t.Fatal(err)
		}
		saved()
		a.want(t, "newest", "miss")
	})
}

// TestASaveThatComesLate: a copy that a purge has overtaken on its way does no harm.
func TestASaveThatComesLate(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		kept := make(map[string][]byte)
		x.store.Change(func(key string, data []byte) []byte { kept[key] = bytes.Clone(data); return data })
		purgePage(t, a)
		price(origin, "new")
		a.want(t, "new", "miss")
		saved()
		x.store.Change(func(key string, data []byte) []byte { return kept[key] })
		x.join("b").want(t, "new", "miss")
	})
}

// TestAGapDistrustsTheSecondLevel: what is older than what is known of the log is
// validated and not trusted.
func TestAGapDistrustsTheSecondLevel(t *testing.T) {
	cases := map[string]func(log *cachetest.Log){
		"lost":    func(log *cachetest.Log) { log.Lose() },
		"trimmed": func(log *cachetest.Log) { log.Trim(1) },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
				for i := range 3 {
					if _, err := a.Invalidate(t.Context(), cache.Invalidation{URL: fmt.Sprint(page, i)}); err != nil {
						t.Fatal(err)
					}
				}
				x.join("before").want(t, "old", "hit") // nothing has meant it
				change(x.log)
				a.stop()
				b := x.join("b")
				cachetest.Get(t, b.front, page).Want(t, 200, "old", "miss")
				if n := origin.Calls("/p"); n != 2 {
					t.Errorf("the backend was asked %d times", n)
				}
				saved()
				x.join("c").want(t, "old", "hit")
			})
		})
	}
}

// TestCopiesOfAnotherHistory: where a log begins again behind what was, and nobody knows
// of that any more, its positions mean nothing.
func TestCopiesOfAnotherHistory(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		for range 3 {
			x.log.Lose()
		}
		time.Sleep(15 * time.Second)
		origin.Set("/later", "later", "Cache-Control: max-age=3600")
		cachetest.Get(t, a.front, "http://shop.example/later").Want(t, 200, "later", "miss")
		saved()
		a.stop()
		x.log = new(cachetest.Log)
		cachetest.Get(t, x.join("b").front, "http://shop.example/later").Want(t, 200, "later", "miss")
	})
}

// TestForeignCopies: whatever stands in the second level, nobody gets what they have not
// asked for.
func TestForeignCopies(t *testing.T) {
	other := "http://shop.example/other"
	cases := map[string]func(key string, data []byte, all map[string][]byte) []byte{
		"nothing":     func(string, []byte, map[string][]byte) []byte { return []byte{} },
		"half":        func(_ string, data []byte, _ map[string][]byte) []byte { return data[:len(data)/2] },
		"noise":       func(string, []byte, map[string][]byte) []byte { return bytes.Repeat([]byte("noise"), 1000) },
		"another's":   func(key string, _ []byte, all map[string][]byte) []byte { return another(key, all) },
		"a loop":      func(string, []byte, map[string][]byte) []byte { return []byte("vary X") },
		"no fields":   func(string, []byte, map[string][]byte) []byte { return []byte("vary ") },
		"odd fields":  func(string, []byte, map[string][]byte) []byte { return []byte("vary \x00,,\r\n,Cookie") },
		"much longer": func(_ string, data []byte, _ map[string][]byte) []byte { return append(data, make([]byte, 3<<20)...) },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
				origin.Set("/other", "other", "Cache-Control: max-age=3600")
				cachetest.Get(t, a.front, other).Want(t, 200, "other", "miss")
				saved()
				all := make(map[string][]byte)
				x.store.Change(func(key string, data []byte) []byte { all[key] = bytes.Clone(data); return data })
				x.store.Change(func(key string, data []byte) []byte { return change(key, data, all) })
				b := x.join("b")
				b.want(t, "old", "miss")
				cachetest.Get(t, b.front, other).Want(t, 200, "other", "miss")
				saved()
				x.join("c").want(t, "old", "hit") // it was put right
			})
		})
	}
}

// another returns what stands under another key.
func another(key string, all map[string][]byte) []byte {
	for k, data := range all {
		if k != key {
			return data
		}
	}
	return nil
}

func TestAFlippedBitIsAMiss(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		for bit, size := 0, 1; bit < size; bit += 7 {
			x.store.Change(func(_ string, data []byte) []byte {
				size = 8 * len(data)
				data[bit/8] ^= 1 << (bit % 8)
				return data
			})
			b := x.join("b")
			b.want(t, "old", "miss")
			b.stop() // it has saved what it got
		}
	})
}

// A slow backend says how often it was asked.
type slow struct {
	calls atomic.Int32
	takes time.Duration
	dead  atomic.Bool
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.calls.Add(1)
	select {
	case <-time.After(s.takes):
	case <-r.Context().Done():
	}
	if s.dead.Load() {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=30")
	fmt.Fprint(w, n)
}

// crowd has many clients ask each gateway, over a while.
func crowd(t *testing.T, tier []*member, clients int, over time.Duration) (answers map[string]int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers = make(map[string]int)
	for i := range clients {
		wg.Go(func() {
			time.Sleep(over * time.Duration(i) / time.Duration(clients)) // by the bubble's clock: they come one after the other
			w := httptest.NewRecorder()
			tier[i%len(tier)].front.ServeHTTP(w, httptest.NewRequest("GET", page, nil))
			mu.Lock()
			defer mu.Unlock()
			answers[w.Body.String()]++
		})
	}
	wg.Wait()
	return answers
}

func TestOneGatewayRefreshesForAll(t *testing.T) {
	cases := map[string]struct {
		prepare func(x *tier, backend *slow, all []*member)
		min     int32 // fetches
		max     int32
	}{
		"expired within grace": {func(*tier, *slow, []*member) {}, 1, 1},
		"the second level is gone": {func(x *tier, _ *slow, _ []*member) {
			x.store.Lose()
		}, 1, 1},
		"the holder is killed": {func(x *tier, _ *slow, _ []*member) {
			// Whoever held the lease does not give it back.
			if got, err := x.store.Join("killed").Lease(x.t.Context(), leaseKey(x), "killed", 10*time.Second); !got || err != nil {
				x.t.Errorf("%t, %v", got, err)
			}
		}, 1, 1},
		"it fails at first": {func(_ *tier, backend *slow, _ []*member) {
			backend.dead.Store(true)
			time.AfterFunc(3*time.Second, func() { backend.dead.Store(false) })
		}, 2, 12},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &slow{takes: 300 * time.Millisecond}
				x := newTier(t, backend)
				var all []*member
				for i := range 3 {
					all = append(all, x.join(fmt.Sprint(i)))
				}
				all[0].want(t, "1", "miss")
				saved()
				for _, g := range all {
					g.want(t, "1", "hit")
				}
				time.Sleep(60 * time.Second)
				before := backend.calls.Load()
				if before != 1 {
					t.Fatalf("%d fetches", before)
				}
				c.prepare(x, backend, all)
				answers := crowd(t, all, 10_000, 20*time.Second)
				if n := backend.calls.Load() - before; n < c.min || n > c.max {
					t.Errorf("%d fetches, want %d to %d", n, c.min, c.max)
				}
				if answers[""] > 0 || len(answers) > 3 {
					t.Errorf("answers: %v", answers)
				}
				for _, g := range all {
					cachetest.Get(t, g.front, page).Want(t, 200, fmt.Sprint(backend.calls.Load()), "hit")
				}
			})
		})
	}
}

// leaseKey returns the key of the one page that is stored.
func leaseKey(x *tier) (key string) {
	x.store.Change(func(k string, data []byte) []byte { key = k; return data })
	return key
}

// TestAMissWaitsForNoOtherGateway: what was never stored each fetches once, at once.
func TestAMissWaitsForNoOtherGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &slow{takes: 2 * time.Second}
		x := newTier(t, backend)
		var all []*member
		for i := range 3 {
			all = append(all, x.join(fmt.Sprint(i)))
		}
		begin := time.Now()
		answers := crowd(t, all, 10_000, time.Second)
		if took := time.Since(begin); took > 2500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if n := backend.calls.Load(); n > 3 || answers[""] > 0 {
			t.Errorf("%d fetches, %v", n, answers)
		}
	})
}

// TestOutageOfTheSecondLevel: nothing waits for longer than 25 ms, and nothing at all
// once it is known; the log has one line, and one when it is back.
func TestOutageOfTheSecondLevel(t *testing.T) {
	for name, hangs := range map[string]bool{"refuses": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := new(cachetest.Origin)
				x := newTier(t, origin)
				var out atomic.Bool
				x.store.Link = func(string) (time.Duration, error) {
					switch {
					case !out.Load():
						return 0, nil
					case hangs:
						return time.Hour, nil
					}
					return 0, errors.New("refused")
				}
				var lines bytes.Buffer
				x.opts.Logger = slog.New(slog.NewTextHandler(&lines, nil))
				g := x.join("a")
				ask := func(i int) (took time.Duration) {
					path := fmt.Sprint("/", i)
					origin.Set(path, "x", "Cache-Control: max-age=3600")
					begin := time.Now()
					cachetest.Get(t, g.front, "http://shop.example"+path).Want(t, 200, "x", "miss")
					return time.Since(begin)
				}
				ask(0)
				saved()
				out.Store(true)
				slow := 0
				for i := range 60 {
					if took := ask(i + 1); took > 25*time.Millisecond {
						t.Errorf("request %d took %v", i, took)
					} else if took > 0 {
						slow++
					}
					time.Sleep(time.Second)
				}
				if slow > 12 || hangs && slow < 5 {
					t.Errorf("%d requests waited", slow)
				}
				cachetest.Get(t, g.front, "http://shop.example/0").Want(t, 200, "x", "hit")
				if g.Report().Why == "" {
					t.Error("it is not reported")
				}
				for i := range 2000 {
					ask(i + 100)
				}
				if n := metric(g, "copies_waiting"); n > 1024 {
					t.Errorf("%v copies wait", n)
				}
				out.Store(false)
				time.Sleep(31 * time.Second) // until it is tried again
				ask(5000)
				time.Sleep(time.Second)
				if n := metric(g, "copies_waiting"); n != 0 || g.Report().Why != "" {
					t.Errorf("%v copies wait, %q", n, g.Report().Why)
				}
				if n := metric(g, "copies_saved_total"); n < 1000 {
					t.Errorf("%v copies saved", n)
				}
				if n := strings.Count(lines.String(), "second level"); n != 2 {
					t.Errorf("%d lines:\n%s", n, &lines)
				}
				if why := map[bool]string{false: "refused", true: "deadline"}[hangs]; !strings.Contains(lines.String(), why) {
					t.Errorf("the cause is not said:\n%s", &lines)
				}
			})
		})
	}
}

// TestCallsThatTakeTooLongCount in time that passes: the breaker's own limit ends them,
// and not one that says nothing of the store.
func TestCallsThatTakeTooLongCount(t *testing.T) {
	store := &cachetest.Store{Link: func(string) (time.Duration, error) { return time.Hour, nil }}
	var loads atomic.Int32
	origin := new(cachetest.Origin)
	_, front := cachetest.Open(t, cache.Options{
		Feed: new(cachetest.Log).Join("a"), Store: hanging{store.Join("a"), &loads}, Logger: slog.New(slog.DiscardHandler),
	}, origin)
	for i := range 30 {
		path := fmt.Sprint("/", i)
		origin.Set(path, "x", "Cache-Control: max-age=3600")
		cachetest.Get(t, front, "http://shop.example"+path).Want(t, 200, "x", "miss")
	}
	if n := loads.Load(); n < 5 || n > 20 { // 5, but on a machine that is busy with something else
		t.Errorf("%d calls", n)
	}
}

// A hanging store counts its calls.
type hanging struct {
	cache.Store
	loads *atomic.Int32
}

func (h hanging) Load(ctx context.Context, key string) ([]byte, error) {
	h.loads.Add(1)
	return h.Store.Load(ctx, key)
}

// TestAStoreThatTakesNothing is asked all the same.
func TestAStoreThatTakesNothing(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		x.opts.Store = readOnly{x.store.Join("b")}
		b := x.join("b")
		for i := range 20 {
			path := fmt.Sprint("/", i)
			origin.Set(path, "x", "Cache-Control: max-age=3600")
			cachetest.Get(t, b.front, "http://shop.example"+path).Want(t, 200, "x", "miss")
		}
		saved()
		b.want(t, "old", "hit")
	})
}

type readOnly struct{ cache.Store }

func (readOnly) Save(context.Context, string, []byte, time.Duration) error {
	return errors.New("READONLY")
}

// TestTheSecondLevelIsAskedOnce however many wait.
func TestTheSecondLevelIsAskedOnce(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		var loads atomic.Int32
		x.opts.Store = counting{x.store.Join("b"), &loads}
		b := x.join("b")
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				b.front.ServeHTTP(w, httptest.NewRequest("GET", page, nil))
				if w.Body.String() != "old" {
					t.Errorf("got %q", w.Body)
				}
			})
		}
		wg.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestWhatIsNotThereIsNotAskedForAgain at once: a page of each visitor's own costs no
// call a visit.
func TestWhatIsNotThereIsNotAskedForAgain(t *testing.T) {
	inTier(t, func(t *testing.T, x *tier, origin *cachetest.Origin, a *member) {
		var loads atomic.Int32
		x.opts.Store = counting{x.store.Join("b"), &loads}
		b := x.join("b")
		origin.Set("/mine", "mine", "Cache-Control: private")
		for range 100 {
			cachetest.Get(t, b.front, "http://shop.example/mine", "Cookie: visitor=1").Want(t, 200, "mine", "miss")
			time.Sleep(10 * time.Millisecond)
		}
		if n := loads.Load(); n > 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestWhatWaitsLeavesRoom: copies that cannot be saved do not fill a small cache.
func TestWhatWaitsLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		x := newTier(t, origin)
		var out atomic.Bool
		x.store.Link = func(string) (time.Duration, error) {
			if out.Load() {
				return 0, errors.New("refused")
			}
			return 0, nil
		}
		x.opts.MaxBytes = 1 << 20
		g := x.join("a")
		out.Store(true)
		body := strings.Repeat("x", 20<<10)
		for i := range 200 {
			path := fmt.Sprint("/", i)
			origin.Set(path, body, "Cache-Control: max-age=3600")
			for _, from := range []string{"miss", "hit"} {
				cachetest.Get(t, g.front, "http://shop.example"+path).Want(t, 200, body, from)
			}
		}
		if n := metric(g, "responses_refused_total"); n != 0 {
			t.Errorf("there was no room for %v", n)
		}
	})
}

type counting struct {
	cache.Store
	loads *atomic.Int32
}

func (c counting) Load(ctx context.Context, key string) ([]byte, error) {
	c.loads.Add(1)
	time.Sleep(5 * time.Millisecond) // by the bubble's clock: on the way
	return c.Store.Load(ctx, key)
}

func TestStoreNeedsFeed(t *testing.T) {
	if _, err := cache.New(cache.Options{Store: new(cachetest.Store).Join("a")}); err == nil || !strings.Contains(err.Error(), "Feed") {
		t.Errorf("got %v", err)
	}
}
