package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

// The model is a tier of three gateways, a slow backend, a log and a second level, in
// virtual time. A schedule, which a seed makes, has visitors ask, editors purge, links
// break and mend and lose answers, gateways crash and start again, with a snapshot that
// one of them has written some time or with none, the log lose what it has acknowledged,
// and old copies come back in the second level. What must hold is that no answer that
// passes for fresh was asked for before a purge
//
//   - that this gateway has applied, of its own or of others, when the visitor asks;
//   - of which a PURGE has said that all gateways have applied it;
//   - that anybody was acknowledged more than 10 seconds before;
//
// and that no GET fails while the backend answers.

// TestModel plays as many schedules as it has time for. FORETIER_MODEL=100000 makes it
// play so many, however long that takes; FORETIER_MODEL_SEED=7 the one.
func TestModel(t *testing.T) {
	if s := os.Getenv("FORETIER_MODEL_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		for _, wrong := range play(t, seed, nil, &said) {
			t.Error(wrong)
		}
		t.Logf("%s", &said)
		return
	}
	count, limit := 1<<30, 20*time.Second
	if testing.Short() {
		limit = 2 * time.Second
	}
	if s := os.Getenv("FORETIER_MODEL"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		limit = 24 * time.Hour
	}
	begin, played := time.Now(), new(atomic.Int64)
	for range runtime.GOMAXPROCS(0) {
		t.Run("seeds", func(t *testing.T) {
			t.Parallel()
			for !t.Failed() && time.Since(begin) < limit {
				seed := played.Add(1) - 1
				if seed >= int64(count) {
					return
				}
				for _, wrong := range play(t, uint64(seed), nil, io.Discard) {
					t.Errorf("FORETIER_MODEL_SEED=%d: %s", seed, wrong)
				}
			}
		})
	}
	t.Cleanup(func() {
		t.Logf("%d schedules in %v", min(played.Load(), int64(count)), time.Since(begin).Round(time.Second))
	})
}

// TestModelSees that something is wrong where nobody looks whether a purge has
// overtaken a fetch, or a copy.
func TestModelSees(t *testing.T) {
	for name, blind := range map[string]func(*cache.Cache){
		"a fetch": (*cache.Cache).Blind, "a copy": (*cache.Cache).BlindToCopies,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2000) {
				if wrong := play(t, seed, blind, io.Discard); len(wrong) > 0 {
					t.Logf("seed %d: %s", seed, wrong[0])
					return
				}
			}
			t.Error("nothing is wrong in 2000 schedules")
		})
	}
}

// play plays a schedule, with gateways that are blind if blind is not nil, and returns
// what was wrong.
func play(t *testing.T, seed uint64, blind func(*cache.Cache), said io.Writer) (wrong []string) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{t: t, seed: seed, blind: blind, said: said, begin: time.Now()}
		m.play()
		wrong = m.wrong
	})
	return wrong
}

const (
	modelPages    = 4
	modelGateways = 3
)

type model struct {
	t     *testing.T
	seed  uint64
	blind func(*cache.Cache)
	begin time.Time
	log   *cachetest.Log
	store *cachetest.Store
	tier  [modelGateways]*node
	links [2][modelGateways]path // to the log, and to the second level
	old   map[string][]byte      // what was in the second level once
	doing sync.WaitGroup
	saved []byte // the last snapshot

	mu     sync.Mutex
	purges []purge   // guarded by mu: those that are over
	wrong  []string  // guarded by mu
	said   io.Writer // guarded by mu
}

// A path is the way of a gateway to something.
type path struct{ broken, lossy atomic.Bool }

// A node is a gateway from one start to its crash.
type node struct {
	*cache.Cache
	at    int
	front http.Handler
	purge http.Handler
	stop  func()
	down  atomic.Bool
}

// A purge is one that has been answered.
type purge struct {
	page       int // -1: all
	called     time.Duration
	by         *node
	position   cache.Position // 0: it was not acknowledged
	returned   time.Duration
	everywhere bool
}

func (m *model) now() time.Duration { return time.Since(m.begin) }

// draw returns what chance is at a moment, for somebody: it depends on nothing else,
// so that the order of what is done at once changes nothing.
func (m *model) draw(who int) *rand.Rand {
	return rand.New(rand.NewPCG(m.seed<<8|uint64(who), uint64(m.now())))
}

func (m *model) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.said, "%v ", m.now())
	fmt.Fprintf(m.said, format+"\n", args...)
}

func (m *model) fault(format string, args ...any) {
	m.say("WRONG: "+format, args...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf("at %v: ", m.now())+fmt.Sprintf(format, args...))
}

// carry is the way to the log and back, or to the second level.
func (m *model) carry(to int, gateway string) (time.Duration, error) {
	at := int(gateway[0] - '0')
	r := m.draw(at + to*50)
	delay := time.Duration(r.Int64N(int64(4 * time.Millisecond)))
	switch r.IntN(20) {
	case 0:
		delay *= 10
	case 1:
		delay *= 300
	}
	link := &m.links[to][at]
	if link.broken.Load() || link.lossy.Load() && r.IntN(3) == 0 {
		return min(delay, 25*time.Millisecond), errors.New("lost")
	}
	return delay, nil
}

// ServeHTTP is the backend: a page says when it was asked for, and comes when it likes.
func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := m.now()
	page := int(r.URL.Path[1] - '0')
	d := m.draw(100 + page)
	switch d.IntN(6) {
	case 0:
		time.Sleep(time.Duration(d.Int64N(int64(3 * time.Second)))) // by the bubble's clock: a slow backend
	case 1, 2:
		time.Sleep(time.Duration(d.Int64N(int64(50 * time.Millisecond)))) // likewise
	}
	h := w.Header()
	h.Set("Cache-Control", [modelPages]string{"max-age=3600", "max-age=3600, must-revalidate", "max-age=5, stale-while-revalidate=30", "s-maxage=60"}[page])
	h.Set("Cache-Tag", fmt.Sprint("page-", page))
	if said := searches[page]; said != "" {
		if d.IntN(10) == 0 {
			said += ", other-words"
		}
		h.Set("No-Vary-Search", said)
	}
	fmt.Fprint(w, int64(asked))
}

func (m *model) start(at int, snapshot []byte) {
	opts := cache.Options{
		Feed: m.log.Join(strconv.Itoa(at)), Store: m.store.Join(strconv.Itoa(at)),
		MaxBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
	c, err := cache.New(opts)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.blind != nil {
		m.blind(c)
	}
	purger, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		m.t.Fatal(err)
	}
	if snapshot != nil {
		n, err := c.LoadFrom(context.Background(), snapshot)
		if err != nil {
			m.fault("a snapshot is not read: %v", err)
		}
		m.say("gateway %d has %d responses", at, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	m.tier[at] = &node{Cache: c, at: at, front: c.Handler(m), purge: purger, stop: func() { cancel(); <-done }}
}

// play is the schedule.
func (m *model) play() {
	m.log = &cachetest.Log{Link: func(gateway string) (time.Duration, error) { return m.carry(0, gateway) }}
	m.store = &cachetest.Store{Link: func(gateway string) (time.Duration, error) { return m.carry(1, gateway) }}
	for at := range m.tier {
		m.start(at, nil)
	}
	r := rand.New(rand.NewPCG(m.seed, 0))
	for range 60 {
		m.step(r)
		switch r.IntN(12) {
		case 0:
			time.Sleep(time.Duration(r.Int64N(int64(12 * time.Second))))
		case 1, 2, 3:
			time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
		default:
			time.Sleep(time.Duration(r.Int64N(int64(20 * time.Millisecond))))
		}
	}
	m.doing.Wait()
	for _, n := range m.tier {
		n.stop()
	}
}

// searches is what the pages say of their queries in No-Vary-Search.
var searches = [modelPages]string{`params, except=("id")`, `params=("utm"), key-order`, `params`, ""}

// address returns one of the URLs of a page.
func address(r *rand.Rand, page int) string {
	url := fmt.Sprintf("http://shop.example/%d", page)
	if searches[page] != "" && r.IntN(2) == 0 {
		url += fmt.Sprintf("?utm=%d", r.IntN(4))
	}
	return url
}

func (m *model) step(r *rand.Rand) {
	at, page := r.IntN(modelGateways), r.IntN(modelPages)
	link := &m.links[r.IntN(2)][at]
	switch n := r.IntN(100); {
	case n < 56:
		for range 1 + r.IntN(3) {
			n := m.tier[at]
			url := address(r, page)
			m.doing.Go(func() { m.visit(n, page, url) })
			at = r.IntN(modelGateways)
		}
	case n < 73:
		n, how, url := m.tier[at], r.IntN(8), address(r, page)
		m.doing.Go(func() { m.edit(n, page, how, url) })
	case n < 80:
		m.say("a link of %d breaks: %t", at, !link.broken.Load())
		link.broken.Store(!link.broken.Load())
	case n < 84:
		m.say("a link of %d loses: %t", at, !link.lossy.Load())
		link.lossy.Store(!link.lossy.Load())
	case n < 86:
		m.say("the log is lost")
		m.log.Lose()
	case n < 88:
		m.say("the log is trimmed")
		m.log.Trim(r.IntN(3))
	case n < 91:
		m.turnBack()
	case n < 93:
		m.save(at)
	default:
		m.say("gateway %d crashes", at)
		m.crash(at, r.IntN(3))
	}
}

// crash ends a gateway, which tells nobody, and starts it anew: with a snapshot, with
// an old one, or with none.
func (m *model) crash(at, with int) {
	var broken [len(m.links)]bool
	for to := range m.links {
		broken[to] = m.links[to][at].broken.Swap(true)
	}
	m.tier[at].down.Store(true)
	m.tier[at].stop()
	for to := range m.links {
		m.links[to][at].broken.Store(broken[to])
	}
	var snapshot []byte
	switch with {
	case 0:
		m.save(at)
		snapshot = m.saved
	case 1:
		snapshot = m.saved
	}
	m.start(at, snapshot)
}

func (m *model) save(at int) {
	var snapshot bytes.Buffer
	n, err := m.tier[at].SaveTo(context.Background(), &snapshot)
	if err != nil {
		m.fault("no snapshot is written: %v", err)
	}
	m.say("gateway %d saves %d responses", at, n)
	m.saved = snapshot.Bytes()
}

// turnBack puts back into the second level what was there when it was called last.
func (m *model) turnBack() {
	m.say("the second level goes back")
	now := make(map[string][]byte)
	m.store.Change(func(key string, data []byte) []byte {
		now[key] = data
		if old := m.old[key]; old != nil {
			return bytes.Clone(old)
		}
		return bytes.Clone(data)
	})
	m.old = now
}

// visit asks a gateway for a page by one of its URLs.
func (m *model) visit(n *node, page int, url string) {
	m.mu.Lock()
	past := m.purges[:len(m.purges):len(m.purges)]
	m.mu.Unlock()
	begin := m.now()
	applied := func(p cache.Position) bool {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return n.Synced(ctx, p) == nil
	}
	var known []purge
	for _, p := range past {
		if (p.page == page || p.page < 0) &&
			(p.everywhere || p.by == n || p.position > 0 && (begin-p.returned > 10*time.Second || applied(p.position))) {
			known = append(known, p)
		}
	}
	w := httptest.NewRecorder()
	cut := false
	func() {
		defer func() { cut = recover() != nil }()
		n.front.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
	}()
	status := w.Header().Get("Cache-Status")
	m.say("visit of %s at %d since %v: %d %s %s", url, n.at, begin, w.Code, w.Body, status)
	if n.down.Load() {
		return
	}
	asked, err := strconv.ParseInt(w.Body.String(), 10, 64)
	if cut || w.Code != 200 || err != nil {
		m.fault("a GET fails: %d %q", w.Code, w.Body)
		return
	}
	if strings.Contains(status, "stale") || strings.Contains(status, "ttl=-") {
		return
	}
	for _, p := range known {
		if time.Duration(asked) < p.called && !strings.Contains(status, "ttl=0") {
			m.fault("page %d of %v is fresh at %d, after a purge at %v, acknowledged at %v (%+v): %s",
				page, time.Duration(asked), n.at, p.called, p.returned, p, status)
		}
	}
}

// edit purges a page, one way or another, by one of its URLs.
func (m *model) edit(n *node, page, how int, url string) {
	called := m.now()
	p := purge{page: page, called: called, by: n}
	m.say("purge of %s at %d, way %d", url, n.at, how)
	inv := cache.Invalidation{Hard: how%2 == 0}
	switch how {
	case 0, 1, 2:
		inv.URL = url
	case 3, 4:
		inv.Tags = []string{fmt.Sprint("page-", page)}
	case 5:
		inv.All, p.page = true, -1
	default:
		m.purgeEverywhere(&p, url)
		return
	}
	done, err := n.Invalidate(context.Background(), inv)
	if err != nil && !errors.Is(err, cache.ErrNotShared) {
		m.fault("Invalidate: %v", err)
	}
	m.answered(p, done.Position)
}

// purgeEverywhere waits for the others.
func (m *model) purgeEverywhere(p *purge, url string) {
	r := httptest.NewRequest("PURGE", url, nil)
	r.RemoteAddr = "192.0.2.1:1"
	r.Header.Set("Prefer", "wait=20")
	w := httptest.NewRecorder()
	p.by.purge.ServeHTTP(w, r)
	p.everywhere = w.Code == 200 && strings.Contains(w.Body.String(), "by all gateways")
	var position cache.Position
	_, _ = fmt.Sscanf(w.Body.String(), fmt.Sprint(w.Code)+" purged at %d", &position) // else it was not acknowledged
	m.answered(*p, position)
}

func (m *model) answered(p purge, position cache.Position) {
	p.position, p.returned = position, m.now()
	m.say("purged %+v", p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purges = append(m.purges, p)
}
