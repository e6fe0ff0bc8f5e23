package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

// A member is a cache that follows a log.
type member struct {
	*cache.Cache
	front http.Handler
	stop  func()
}

// join starts a gateway, and returns when it has begun to follow.
func join(t *testing.T, log *cachetest.Log, name string, opts cache.Options, backend http.Handler) *member {
	t.Helper()
	return joinBy(t, log.Join(name), opts, backend)
}

func joinBy(t *testing.T, feed cache.Feed, opts cache.Options, backend http.Handler) *member {
	t.Helper()
	c, err := cache.New(withFeed(opts, feed))
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c, backend)
}

func withFeed(opts cache.Options, feed cache.Feed) cache.Options {
	opts.Feed = feed
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts
}

func run(t *testing.T, c *cache.Cache, backend http.Handler) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	synctest.Wait()
	return &member{c, c.Handler(backend), stop}
}

const page = "http://shop.example/p"

func (g *member) want(t *testing.T, body, from string) {
	t.Helper()
	cachetest.Get(t, g.front, page).Want(t, 200, body, from)
}

func price(o *cachetest.Origin, body string, fields ...string) {
	o.Set("/p", body, append(fields, "Cache-Control: max-age=3600", "Cache-Tag: product")...)
}

func purgePage(t *testing.T, g *member) cache.Position {
	t.Helper()
	done, err := g.Invalidate(t.Context(), cache.Invalidation{URL: page, Hard: true})
	if err != nil {
		t.Fatal(err)
	}
	return done.Position
}

func TestAPurgeReachesEveryGateway(t *testing.T) {
	cases := map[string]struct {
		inv  cache.Invalidation
		from string // whence the page comes at first
	}{
		"URL":    {cache.Invalidation{URL: page, Hard: true}, "miss"},
		"tag":    {cache.Invalidation{Tags: []string{"other", "product"}, Hard: true}, "miss"},
		"prefix": {cache.Invalidation{Host: "shop.example", PathPrefix: "/p", Hard: true}, "miss"},
		"all":    {cache.Invalidation{All: true, Hard: true}, "miss"},
		"soft":   {cache.Invalidation{URL: page}, "stale"},
		"others": {cache.Invalidation{URL: page + "2", Hard: true}, "hit"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &cachetest.Log{Link: func(string) (time.Duration, error) { return 3 * time.Millisecond, nil }}
				origin := new(cachetest.Origin)
				var tier [3]*member
				price(origin, "old")
				for i := range tier {
					tier[i] = join(t, log, fmt.Sprint("gw", i), cache.Options{}, origin)
				}
				time.Sleep(time.Second)
				for _, g := range tier {
					g.want(t, "old", "miss")
				}
				price(origin, "new")
				done, err := tier[0].Invalidate(t.Context(), c.inv)
				if err != nil || done.Position == 0 {
					t.Fatalf("%+v, %v", done, err)
				}
				begin := time.Now()
				for _, g := range tier {
					if err := g.Synced(t.Context(), done.Position); err != nil {
						t.Error(err)
					}
				}
				if took := time.Since(begin); took > 20*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				time.Sleep(time.Second) // stale is what is less than fresh by a second
				for i, g := range tier {
					body := map[string]string{"miss": "new", "stale": "old", "hit": "old"}[c.from]
					cachetest.Get(t, g.front, page).Want(t, 200, body, c.from)
					synctest.Wait() // for the refresh
					if c.from == "stale" {
						g.want(t, "new", "hit")
					}
					if n := metric(g, "invalidations_received_total"); n != float64(min(i, 1)) {
						t.Errorf("gateway %d has received %v", i, n)
					}
				}
			})
		})
	}
}

func metric(g *member, name string) float64 {
	for _, m := range g.Report().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// TestAFetchIsOvertakenByAPurgeElsewhere: what was asked for before a purge arrives
// is not stored as fresh, however the two arrive.
func TestAFetchIsOvertakenByAPurgeElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(cachetest.Log)
		var text atomic.Value
		text.Store("old")
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := text.Load().(string)
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "max-age=3600")
			io.WriteString(w, body)
		})
		a, b := join(t, log, "a", cache.Options{}, slow), join(t, log, "b", cache.Options{}, slow)
		time.Sleep(time.Second)
		go cachetest.Get(t, b.front, page)
		time.Sleep(time.Second / 2)
		text.Store("new")
		p := purgePage(t, a)
		if err := b.Synced(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		b.want(t, "new", "miss") // not from the fetch that runs
		time.Sleep(time.Second)
		b.want(t, "new", "hit")
	})
}

// TestUnsafeMethodsInvalidateEverywhere (RFC 9111, section 4.4), and nobody waits.
func TestUnsafeMethodsInvalidateEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, origin := new(cachetest.Log), new(cachetest.Origin)
		price(origin, "old")
		a, b := join(t, log, "a", cache.Options{}, origin), join(t, log, "b", cache.Options{}, origin)
		b.want(t, "old", "miss")
		price(origin, "new")
		a.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", page, nil))
		synctest.Wait()
		b.want(t, "new", "miss")
	})
}

// A broken link is a [cachetest.Log.Link] that a test breaks and mends.
type link struct {
	broken atomic.Bool
	only   string // the gateway whose link it is; "": all
}

func (l *link) carry(gateway string) (time.Duration, error) {
	if l.broken.Load() && (l.only == "" || l.only == gateway) {
		return 25 * time.Millisecond, errors.New("no route to the log")
	}
	return time.Millisecond, nil
}

// TestCutOff: who hears nothing of the others for 10 s serves nothing as fresh that is
// older, and hears what it has missed.
func TestCutOff(t *testing.T) {
	for name, fields := range map[string][]string{"with grace": nil, "without": {"Cache-Control: must-revalidate"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &link{only: "b"}
				log := &cachetest.Log{Link: l.carry}
				origin := new(cachetest.Origin)
				price(origin, "old", fields...)
				var said bytes.Buffer
				quiet := cache.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}
				a, b := join(t, log, "a", cache.Options{}, origin), join(t, log, "b", quiet, origin)
				time.Sleep(time.Second)
				b.want(t, "old", "miss")
				time.Sleep(time.Second)
				l.broken.Store(true)
				purgePage(t, a)
				price(origin, "new", fields...)
				b.want(t, "old", "hit")
				time.Sleep(11 * time.Second)
				b.want(t, "old", "stale")
				synctest.Wait()
				b.want(t, "new", "stale")
				if got := b.Report(); got.State.String() != "degraded" || got.Why == "" {
					t.Errorf("it reports %v, %q", got.State, got.Why)
				}
				time.Sleep(11 * time.Second)
				price(origin, "newer", fields...)
				b.want(t, "new", "stale")
				synctest.Wait()
				b.want(t, "newer", "stale")
				l.broken.Store(false)
				time.Sleep(3 * time.Second)
				cachetest.Get(t, b.front, page).Want(t, 200, "newer", "miss") // the purge has come
				b.want(t, "newer", "hit")
				if lines := strings.Count(said.String(), "\n"); lines != 2 || !strings.Contains(said.String(), "no route") {
					t.Errorf("the log has %d lines: %s", lines, &said)
				}
			})
		})
	}
}

// TestWithoutRun: a cache that does not follow its feed is cut off from it.
func TestWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		price(origin, "old")
		_, front := cachetest.Open(t, cache.Options{Feed: new(cachetest.Log).Join("a")}, origin)
		cachetest.Get(t, front, page).Want(t, 200, "old", "miss")
		cachetest.Get(t, front, page).Want(t, 200, "old", "stale")
	})
}

// TestAGapPutsAllInDoubt: when what was purged is not known any more, what is stored
// is served for grace, and asked for after that.
func TestAGapPutsAllInDoubt(t *testing.T) {
	for name, fields := range map[string][]string{"with grace": nil, "without": {"Cache-Control: must-revalidate"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &link{only: "b"}
				log, origin := &cachetest.Log{Link: l.carry}, new(cachetest.Origin)
				price(origin, "old", fields...)
				origin.Set("/q", "old", append(fields, "Cache-Control: max-age=3600")...)
				a, b := join(t, log, "a", cache.Options{}, origin), join(t, log, "b", cache.Options{}, origin)
				other := func(body, from string) {
					t.Helper()
					cachetest.Get(t, b.front, "http://shop.example/q").Want(t, 200, body, from)
				}
				time.Sleep(time.Second)
				b.want(t, "old", "miss")
				other("old", "miss")
				l.broken.Store(true)
				before := purgePage(t, a)
				price(origin, "new", fields...)
				log.Lose()
				time.Sleep(time.Second)
				l.broken.Store(false)
				time.Sleep(3 * time.Second)
				if err := b.Synced(t.Context(), before); err != nil {
					t.Error(err)
				}
				if n := metric(b, "gaps_total"); n != 1 {
					t.Errorf("%v gaps", n)
				}
				b.want(t, "old", "stale")
				synctest.Wait()
				b.want(t, "new", "hit")
				time.Sleep(11 * time.Second)
				origin.Stall()
				other("old", "stale") // in place of the error
				origin.Live()
				time.Sleep(2 * time.Second)
				origin.Set("/q", "new", "Cache-Control: max-age=3600")
				other("new", "miss")
				other("new", "hit")
			})
		})
	}
}

// TestTheFeedGoneUnderLoad: for a minute without the feed the backend gets at most
// twice the requests that it got before, and no GET fails, whatever the grace.
func TestTheFeedGoneUnderLoad(t *testing.T) {
	cases := map[string]struct{ control string }{
		"pages with grace":         {"max-age=30, stale-while-revalidate=60"},
		"pages without":            {"max-age=30, must-revalidate"},
		"pages that are few":       {"max-age=600"},
		"pages that live for long": {"max-age=86400"},
	}
	for name, c := range cases {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", data lost ", lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { feedGone(t, c.control, lost) })
			})
		}
	}
}

func feedGone(t *testing.T, control string, lost bool) {
	const pages = 100
	var asked atomic.Int64
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		time.Sleep(50 * time.Millisecond) // by the bubble's clock: a page takes its time
		w.Header().Set("Cache-Control", control)
		fmt.Fprint(w, r.URL.Path)
	})
	l := new(link)
	log := &cachetest.Log{Link: l.carry}
	g := join(t, log, "a", cache.Options{}, backend)
	minute := func(minutes int) (requests int64) {
		before := asked.Load()
		var wg sync.WaitGroup
		for i := range pages {
			wg.Go(func() {
				for n := range 60 * minutes {
					url := fmt.Sprintf("http://shop.example/%d", i)
					if w := cachetest.Get(t, g.front, url); w.Status != 200 {
						t.Errorf("%s: %d", url, w.Status)
					}
					time.Sleep(time.Second + time.Duration((i*7+n)%13)*time.Millisecond) // by the bubble's clock: a visitor's pace
				}
			})
		}
		wg.Wait()
		return (asked.Load() - before) / int64(minutes)
	}
	minute(2) // all is stored
	before := minute(2)
	l.broken.Store(true)
	if lost {
		log.Lose()
	}
	during := minute(1)
	l.broken.Store(false)
	after := minute(1)
	t.Logf("%d requests a minute before, %d without, %d after", before, during, after)
	if during > 2*before+60/4+1 {
		t.Errorf("%d requests without the feed, %d before", during, before)
	}
	if limit := 2*before + 60/4 + 1; !lost && after > limit || lost && after > limit+pages {
		t.Errorf("%d requests after, %d before", after, before)
	}
}

// TestAnInvalidationWithoutTheFeed is applied here, says that it is no more than that,
// and is sent when it can be.
func TestAnInvalidationWithoutTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(link)
		log, origin := &cachetest.Log{Link: l.carry}, new(cachetest.Origin)
		price(origin, "old")
		a, b := join(t, log, "a", cache.Options{}, origin), join(t, log, "b", cache.Options{}, origin)
		time.Sleep(time.Second)
		a.want(t, "old", "miss")
		b.want(t, "old", "miss")
		price(origin, "new")
		l.broken.Store(true)
		begin := time.Now()
		done, err := a.Invalidate(t.Context(), cache.Invalidation{URL: page, Hard: true})
		if !errors.Is(err, cache.ErrNotShared) || !strings.Contains(err.Error(), "no route") || done.Responses != 1 || done.Position != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
		a.want(t, "new", "miss")
		b.want(t, "old", "hit")
		l.broken.Store(false)
		time.Sleep(3 * time.Second)
		b.want(t, "new", "miss")
		a.want(t, "new", "hit")
	})
}

// TestMoreThanCanWait: what does not fit in while the feed is gone is not forgotten:
// everything is made stale elsewhere. But what visitors bring about by unsafe methods
// is no way to do that.
func TestMoreThanCanWait(t *testing.T) {
	const n = 1500
	for name, c := range map[string]struct {
		flood   func(t *testing.T, g *member)
		from    string
		dropped bool
	}{
		"invalidations": {func(t *testing.T, g *member) {
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					inv := cache.Invalidation{URL: fmt.Sprint("http://shop.example/", i)}
					if _, err := g.Invalidate(t.Context(), inv); !errors.Is(err, cache.ErrNotShared) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}, "stale", false},
		"unsafe methods": {func(t *testing.T, g *member) {
			for i := range n {
				g.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", fmt.Sprint("http://shop.example/q?", i), nil))
			}
		}, "hit", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := new(link)
				log := &cachetest.Log{Link: l.carry}
				backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "max-age=3600")
					io.WriteString(w, "old")
				})
				a, b := join(t, log, "a", cache.Options{}, backend), join(t, log, "b", cache.Options{}, backend)
				time.Sleep(time.Second)
				b.want(t, "old", "miss")
				l.broken.Store(true)
				c.flood(t, a)
				l.broken.Store(false)
				time.Sleep(3 * time.Second)
				b.want(t, "old", c.from)
				if n := metric(a, "invalidations_waiting"); n != 0 {
					t.Errorf("%v wait", n)
				}
				if n := metric(a, "invalidations_dropped_total"); n > 0 != c.dropped {
					t.Errorf("%v dropped", n)
				}
			})
		})
	}
}

// TestPurgeWaits (RFC 7240, section 4.3).
func TestPurgeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{only: "b"}
		log, origin := &cachetest.Log{Link: l.carry}, new(cachetest.Origin)
		a := join(t, log, "a", cache.Options{}, origin)
		b := join(t, log, "b", cache.Options{}, origin)
		time.Sleep(1500 * time.Millisecond)
		purger, err := a.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		purge := func(prefer string) (status int, applied, text string, took time.Duration) {
			t.Helper()
			r := httptest.NewRequest("PURGE", page, nil)
			r.RemoteAddr = "192.0.2.1:1"
			r.Header.Set("Prefer", prefer)
			w := httptest.NewRecorder()
			begin := time.Now()
			purger.ServeHTTP(w, r)
			return w.Code, w.Header().Get("Preference-Applied"), w.Body.String(), time.Since(begin)
		}
		want := func(prefer string, status int, applied, text string, least, most time.Duration) {
			t.Helper()
			gotStatus, gotApplied, gotText, took := purge(prefer)
			if gotStatus != status || gotApplied != applied || !strings.Contains(gotText, text) || took < least || took > most {
				t.Errorf("%q: %d %q %q in %v", prefer, gotStatus, gotApplied, gotText, took)
			}
		}
		const soon = 100 * time.Millisecond
		want("", 200, "", ", responses: 0\n", 0, 10*time.Millisecond)
		want("wait=5", 200, "wait=5", ", by all gateways\n", time.Millisecond, soon)
		want("respond-async, WAIT = \"7\"; x, wait=1", 200, "wait=7", ", by all gateways\n", time.Millisecond, soon)
		want("wait=soon", 200, "", "responses: 0\n", 0, soon)
		want("wait=100000000", 200, "wait=60", ", by all", 0, soon)
		l.broken.Store(true)
		want("wait=3", 202, "wait=3", "; not yet by b\n", 3*time.Second, 4*time.Second)
		time.Sleep(20 * time.Second)
		want("wait=3", 200, "wait=3", ", by all gateways\n", 0, soon) // b is gone, and cut off
		l.broken.Store(false)
		time.Sleep(3 * time.Second)
		want("wait=3", 200, "wait=3", ", by all gateways\n", time.Millisecond, soon)
		b.stop()
		l.only = ""
		l.broken.Store(true)
		want("wait=3", 202, "", "202 purged here, responses: 0; the other", 0, time.Second)
	})
}

// TestSyncedEnds with its context, and at once where nobody else is.
func TestSyncedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, origin := new(cachetest.Log), new(cachetest.Origin)
		g := join(t, log, "a", cache.Options{}, origin)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Synced(ctx, 1<<60); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := g.Synced(t.Context(), 0); err != nil {
			t.Error(err)
		}
		alone, _ := cachetest.Open(t, cache.Options{}, origin)
		if err := alone.Synced(t.Context(), 1<<60); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatIsNotUnderstoodIsAGap: an entry of a later version says that something has
// been invalidated, and not what.
func TestWhatIsNotUnderstoodIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, origin := new(cachetest.Log), new(cachetest.Origin)
		price(origin, "old")
		g := join(t, log, "a", cache.Options{}, origin)
		time.Sleep(time.Second)
		g.want(t, "old", "miss")
		if _, err := log.Join("later").Append(t.Context(), []byte(`{"v":2,"from":"later","tags":[1]}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		g.want(t, "old", "stale")
	})
}

// TestWhatWaitsIsToldAtTheEnd of a gateway, which nobody waits for afterwards.
func TestWhatWaitsIsToldAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, origin := &cachetest.Log{Link: func(string) (time.Duration, error) { return 10 * time.Millisecond, nil }}, new(cachetest.Origin)
		price(origin, "old")
		a, b := join(t, log, "a", cache.Options{}, origin), join(t, log, "b", cache.Options{}, origin)
		time.Sleep(time.Second)
		b.want(t, "old", "miss")
		price(origin, "new")
		a.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", page, nil))
		a.stop()
		time.Sleep(time.Second)
		b.want(t, "new", "miss")
		if there, err := log.Join("c").Gateways(t.Context()); err != nil || len(there) != 1 {
			t.Errorf("%v, %v", there, err)
		}
	})
}

// A late feed brings each entry three seconds after it could.
type late struct{ cache.Feed }

func (l late) Follow(ctx context.Context, after cache.Position) iter.Seq2[cache.FeedEntry, error] {
	return func(yield func(cache.FeedEntry, error) bool) {
		type arrival struct {
			e   cache.FeedEntry
			err error
			at  time.Time
		}
		way := make(chan arrival, 1000)
		go func() {
			defer close(way)
			for e, err := range l.Feed.Follow(ctx, after) {
				way <- arrival{e, err, time.Now()}
			}
		}()
		for a := range way {
			time.Sleep(time.Until(a.at.Add(3 * time.Second))) // by the bubble's clock: it comes late
			if !yield(a.e, a.err) {
				return
			}
		}
	}
}

// TestALittleBehindIsNotCutOff: who never has all there is knows up to when it has.
func TestALittleBehindIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, origin := new(cachetest.Log), new(cachetest.Origin)
		price(origin, "old")
		near := join(t, log, "near", cache.Options{}, origin)
		far := joinBy(t, late{log.Join("far")}, cache.Options{}, origin)
		time.Sleep(5 * time.Second)
		far.want(t, "old", "miss")
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			if _, err := near.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"other"}}); err != nil {
				t.Fatal(err)
			}
		}
		far.want(t, "old", "hit")
		if n := metric(far, "lag_seconds"); n < 3 || n > 8 {
			t.Errorf("%v seconds behind", n)
		}
	})
}

// TestAGapOvertakesRunningFetches: nobody joins them, and what they bring is in doubt.
func TestAGapOvertakesRunningFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text atomic.Value
		text.Store("old")
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := text.Load().(string)
			time.Sleep(5 * time.Second)
			w.Header().Set("Cache-Control", "max-age=3600")
			io.WriteString(w, body)
		})
		log := new(cachetest.Log)
		g := join(t, log, "a", cache.Options{}, slow)
		time.Sleep(time.Second)
		go cachetest.Get(t, g.front, page)
		time.Sleep(time.Second)
		text.Store("new")
		log.Lose()
		time.Sleep(time.Second)
		g.want(t, "new", "miss")
		g.want(t, "new", "hit")
	})
}

// TestWhoJoinsAFetchWhileCutOff is told that it may be too old: what was purged since
// it began is not known.
func TestWhoJoinsAFetchWhileCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(link)
		l.broken.Store(true)
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			w.Header().Set("Cache-Control", "max-age=3600")
			io.WriteString(w, "page")
		})
		g := join(t, &cachetest.Log{Link: l.carry}, "a", cache.Options{}, slow)
		go cachetest.Get(t, g.front, page)
		time.Sleep(time.Second)
		g.want(t, "page", "stale")
		g.want(t, "page", "stale")
	})
}
