package session_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/redisstore"
)

// TestAFullServer: who is logged in stays so and can log out, however many new
// visitors are turned away.
func TestAFullServer(t *testing.T) {
	cases := map[string]func(t *testing.T) (store session.Store, fill func()){
		"redis": func(t *testing.T) (session.Store, func()) {
			server := servertest.Redis(t, "--maxmemory-policy", "noeviction")
			client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			return redisstore.New(client), func() {
				if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
					t.Fatal(err)
				}
			}
		},
		"memcached": func(t *testing.T) (session.Store, func()) {
			server := servertest.Memcached(t, "-M", "-m", "2")
			client := memcache.New(server.Addr)
			t.Cleanup(func() { client.Close() })
			return memcachedStore(t, server), func() {
				for size := 100_000; size >= 1; size /= 2 {
					for i := 0; client.Set(&memcache.Item{Key: strconv.Itoa(size) + "-" + strconv.Itoa(i), Value: make([]byte, size)}) == nil; i++ {
					}
				}
			}
		},
	}
	for name, open := range cases {
		t.Run(name, func(t *testing.T) {
			store, fill := open(t)
			m := manager(t, store, session.Options{})
			b := newBrowser(m.Handler(app()))
			b.do("POST", "/login?user=ann")
			b.do("POST", "/add?sku=tea")
			again := b.with()
			fill()
			for range 40 {
				if w := newBrowser(b.handler).do("POST", "/add?sku=tea"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
					t.Fatalf("a new visitor: %d %s", w.Code, body(w))
				}
			}
			if got := b.sees(); got != `"ann"{"tea":1}` {
				t.Errorf("who is logged in: %s", got)
			}
			if trips, refused := metric(t, m, "trips_total"), metric(t, m, "calls_refused_total"); trips != 0 || refused < 40 {
				t.Errorf("the store was given up %v times, and refused %v", trips, refused)
			}
			if r := m.Report(); r.State != health.Degraded {
				t.Errorf("report: %v, %s", r.State, r.Why)
			}
			if w := b.do("POST", "/logout"); w.Code != http.StatusOK {
				t.Errorf("a logout: %d %s", w.Code, body(w))
			}
			if got := again.sees(); got != `""null` {
				t.Errorf("after the logout: %s", got)
			}
		})
	}
}

// TestRefusals: what a store refuses says nothing about the next call, whatever
// its words are, and goes to the client who asked for it alone.
func TestRefusals(t *testing.T) {
	for _, refusal := range []error{session.ErrFull, session.ErrRefused} {
		store := newFake()
		m := manager(t, store, session.Options{})
		b := newBrowser(m.Handler(app()))
		b.do("POST", "/login?user=ann")
		store.before = func(_ context.Context, call, _ string) error {
			if call != "load" {
				return errors.Join(errors.New("store"), refusal)
			}
			return nil
		}
		for range 40 {
			for _, who := range []*browser{b.with(), newBrowser(b.handler), newBrowser(b.handler)} {
				if w := who.do("POST", "/add?sku=tea"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
					t.Fatalf("%v: a change: %d %s", refusal, w.Code, body(w))
				}
			}
		}
		if got := b.sees(); got != `"ann"null` {
			t.Errorf("%v: a look: %s", refusal, got)
		}
		if err := m.Revoke(t.Context(), "ann"); !errors.Is(err, refusal) {
			t.Errorf("Revoke: %v", err)
		}
		store.before = nil
		if got := m.Report().State; got != health.Degraded {
			t.Errorf("report: %v", got)
		}
	}
}

// TestAnUnreadableRecord counts as none: its visitor begins another session,
// nobody else notices, and it stays to the byte what it is.
func TestAnUnreadableRecord(t *testing.T) {
	records := map[string]string{
		"no JSON":             "\x00\x01igbinary",
		"empty":               "",
		"another shape":       `["a"]`,
		"another type":        `{"at":"2026-11-26T00:00:00Z"}`,
		"nothing of ours":     `{}`,
		"a later version's":   `{"at":1795000000,"v":{"user":"\"ann\""},"shard":3}`,
		"something behind it": `{"at":1795000000}{"at":1795000000}`,
		"broken off":          `{"at":1795000000,"v":{"us`,
	}
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		for name, data := range records {
			store := &keys{Store: open()}
			log := new(testkit.Log)
			m := manager(t, store, session.Options{Logger: log.Logger()})
			b, other := newBrowser(m.Handler(app())), newBrowser(m.Handler(app()))
			other.do("POST", "/login?user=bob")
			b.do("POST", "/add?sku=tea")
			key := store.created
			write := func(data string) session.Record {
				t.Helper()
				old, err := store.Store.Load(t.Context(), key)
				if err == nil {
					err = store.Store.Update(t.Context(), key, old[0], []byte(data), time.Hour)
				}
				if err != nil {
					t.Fatal(err)
				}
				return now(t, store, key)
			}
			before := write(data)
			for range 40 {
				if w := b.do("GET", "/read"); w.Code != http.StatusOK || body(w) != "null" {
					t.Fatalf("%s: %d %s", name, w.Code, body(w))
				}
			}
			if w := b.with().do("POST", "/logout"); w.Code != http.StatusOK {
				t.Errorf("%s: a logout: %d", name, w.Code)
			}
			if w := b.do("POST", "/add?sku=pot"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Errorf("%s: a change: %d %v", name, w.Code, w.Header())
			}
			if got := body(b.do("GET", "/read")); got != `{"pot":1}` {
				t.Errorf("%s: then %s", name, got)
			}
			if got := body(other.do("GET", "/whoami")); got != `"bob"` {
				t.Errorf("%s: another visitor: %s", name, got)
			}
			if after := now(t, store, key); after.Version != before.Version || !bytes.Equal(after.Data, []byte(data)) {
				t.Errorf("%s: it became %q", name, after.Data)
			}
			if n, trips := metric(t, m, "sessions_unreadable_total"), metric(t, m, "trips_total"); n != 42 || trips != 0 {
				t.Errorf("%s: counted %v times, given up %v times", name, n, trips)
			}
			if n := strings.Count(log.String(), "cannot be read"); n != 1 || !strings.Contains(log.String(), key) {
				t.Errorf("%s: logged %d times: %s", name, n, log)
			}
		}
	})
}

// TestARecordThatBecomesUnreadable: a later version's write is not undone, and
// nobody is told that a change or a logout was made which was not.
func TestARecordThatBecomesUnreadable(t *testing.T) {
	for path, want := range map[string]int{"/slow": http.StatusConflict, "/out": http.StatusInternalServerError, "/renew": http.StatusConflict} {
		synctest.Test(t, func(t *testing.T) {
			store := &keys{Store: session.Memory()}
			b := newBrowser(manager(t, store, session.Options{}).Handler(script(handlers{
				"/slow":  slowly(func(s *session.Session) error { return add(s, "x") }),
				"/out":   slowly((*session.Session).Destroy),
				"/renew": slowly((*session.Session).Renew),
			})))
			b.do("POST", "/add?sku=tea")
			key, later := store.created, `{"at":1795000000,"shard":3}`
			var wg sync.WaitGroup
			wg.Go(func() {
				if w := b.do("POST", path); w.Code != want || len(w.Header()["Set-Cookie"]) > 0 {
					t.Errorf("%s: %d %s, %v", path, w.Code, body(w), w.Header())
				}
			})
			synctest.Wait()
			if err := store.Store.Update(t.Context(), key, now(t, store, key), []byte(later), time.Hour); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if got := now(t, store, key); string(got.Data) != later {
				t.Errorf("%s: it became %s", path, got.Data)
			}
		})
	}
}

// TestAnUnreadableEpoch: nobody can tell whether the session was revoked, so it
// is none; and nobody writes over what cannot be read.
func TestAnUnreadableEpoch(t *testing.T) {
	store := newFake()
	m := manager(t, store, session.Options{})
	b := newBrowser(m.Handler(app()))
	b.do("POST", "/login?user=ann")
	store.taken()
	store.before = func(_ context.Context, call, _ string) error {
		if call == "load" {
			return session.ErrUnreadable
		}
		return nil
	}
	for range 40 {
		if w := b.do("GET", "/whoami"); w.Code != http.StatusOK || body(w) != `""` {
			t.Fatalf("got %d %s", w.Code, body(w))
		}
	}
	if err := m.Revoke(t.Context(), "ann"); !errors.Is(err, session.ErrUnreadable) {
		t.Errorf("Revoke: %v", err)
	}
	if got := store.taken(); slices.Contains(got, "update") || slices.Contains(got, "create") {
		t.Errorf("written over: %v", got)
	}
	store.before = nil
	if got := b.sees(); got != `"ann"null` {
		t.Errorf("then %s", got)
	}
}

func slowly(f func(*session.Session) error) func(http.ResponseWriter, *http.Request, *session.Session) {
	return func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
		err := f(s)
		time.Sleep(time.Second)
		answer(w, "", err)
	}
}

// keys knows under which key a record was last created.
type keys struct {
	session.Store
	created string
}

func (k *keys) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	k.created = key
	return k.Store.Create(ctx, key, data, ttl)
}

func now(t *testing.T, store *keys, key string) session.Record {
	t.Helper()
	records, err := store.Store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return records[0]
}

// TestAnUnreadableHeir: where nobody can tell whether the visitor has logged
// out, the old id shows nothing.
func TestAnUnreadableHeir(t *testing.T) {
	store := newFake()
	b := newBrowser(manager(t, store, session.Options{}).Handler(renewing()))
	b.do("POST", "/add?sku=tea")
	old := b.with()
	b.do("POST", "/renew")
	first := ""
	store.before = func(_ context.Context, call, key string) error {
		if first == "" {
			first = key
		}
		if call == "load" && key != first {
			return session.ErrUnreadable
		}
		return nil
	}
	if w := old.do("GET", "/read"); w.Code != http.StatusOK || body(w) != "null" {
		t.Errorf("got %d %s", w.Code, body(w))
	}
}
