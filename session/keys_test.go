package session_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// TestKeys: the store gets short keys of plain letters that do not
// open the session, a bounded size, and a count of what it lost.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		var mu sync.Mutex
		keys := map[string]bool{}
		store.before = func(_ context.Context, _, key string) error {
			mu.Lock()
			defer mu.Unlock()
			keys[key] = true
			return nil
		}
		m := manager(t, store, session.Options{})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/much": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				answer(w, "much", s.Set("much", strings.Repeat("x", session.MaxSize)))
			},
			"/lock": func(w http.ResponseWriter, _ *http.Request, s *session.Session) { answer(w, "lock", s.Lock()) },
		})))
		b.do("POST", "/login?user=Jörg")
		b.do("POST", "/lock")
		b.do("GET", "/read")
		form := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
		id, _, _ := strings.Cut(b.cookies["__Host-sid"], ".")
		for key := range keys {
			if !form.MatchString(key) || strings.Contains(key, id) {
				t.Errorf("key %q", key)
			}
		}
		if len(keys) != 3 {
			t.Errorf("%d keys, want a session, a subject and a lock", len(keys))
		}
		if w := b.do("POST", "/much"); w.Code != http.StatusTeapot || !strings.Contains(body(w), "too large") {
			t.Errorf("too much: %d %s", w.Code, body(w))
		}
		if got := body(b.do("GET", "/whoami")); got != `"Jörg"` {
			t.Errorf("what was there before: %s", got)
		}

		store.Store = session.Memory() // all is lost
		b.do("GET", "/read")
		if got := metric(t, m, "sessions_missing_total"); got != 1 {
			t.Errorf("missing: %v, want 1", got)
		}
		time.Sleep(time.Hour)
		b.do("GET", "/read")
		if got := metric(t, m, "sessions_missing_total"); got != 1 {
			t.Errorf("missing, though it would have expired: %v", got)
		}
	})
}

func metric(t *testing.T, m *session.Manager, name string) float64 {
	t.Helper()
	for _, metric := range m.Report().Metrics {
		if metric.Name == name {
			return metric.Value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
