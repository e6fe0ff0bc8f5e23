package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// ttls is a store that refuses to keep a record for ever.
type ttls struct {
	session.Store
	t *testing.T
}

func (s ttls) check(ttl time.Duration) {
	if ttl <= 0 {
		s.t.Errorf("a record with %v to live, which a store may take for ever", ttl)
	}
}

func (s ttls) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s ttls) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Update(ctx, key, old, data, ttl)
}

func (s ttls) Touch(ctx context.Context, key string, old session.Record, ttl time.Duration) error {
	s.check(ttl)
	return s.Store.Touch(ctx, key, old, ttl)
}

// TestAnEndedSessionIsNotKept: a session that ends of age while it is changed
// is not kept for ever.
func TestAnEndedSessionIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = time.Hour
		m := manager(t, ttls{session.Memory(), t}, session.Options{Idle: lifetime, Lifetime: lifetime})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/slow": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				err := add(s, "slow")
				if r.FormValue("renew") != "" {
					err = errors.Join(err, s.Renew())
				}
				time.Sleep(20 * time.Second)
				answer(w, "slow", err)
			},
		})))
		for _, path := range []string{"/slow", "/slow?renew=1"} {
			b.do("POST", "/add?sku=tea")
			time.Sleep(lifetime - 10*time.Second)
			if w := b.do("POST", path); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, body(w))
			}
			if got := body(b.do("GET", "/read")); got != "null" {
				t.Errorf("%s: past its lifetime: %s", path, got)
			}
		}
	})
}
