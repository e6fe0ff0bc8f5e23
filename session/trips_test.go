package session_test

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// TestRoundTrips holds what each kind of request costs.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, session.Options{})
		mux := app().(*http.ServeMux)
		mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) {
			answer(w, "same", session.From(r.Context()).Set("user", "ann"))
		})
		mux.HandleFunc("/delete", func(w http.ResponseWriter, r *http.Request) {
			answer(w, "gone", session.From(r.Context()).Delete("nothing"))
		})
		mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			_ = add(s, "a")
			io.WriteString(w, "first")
			_ = add(s, "b")
			io.WriteString(w, "second")
		})
		b := newBrowser(m.Handler(mux))
		steps := []struct {
			name, path string
			after      time.Duration
			want       []string
		}{
			{"no use", "/plain", 0, nil},
			{"a look without a session", "/read", 0, nil},
			{"destroying none", "/logout", 0, nil},
			{"the first change", "/add?sku=a", 0, []string{"create"}},
			{"no use, with a cookie", "/plain", 0, nil},
			{"a look", "/read", 0, []string{"load"}},
			{"a change", "/add?sku=a", 0, []string{"load", "update"}},
			{"removing nothing", "/delete", 0, []string{"load"}},
			{"within a tenth of Idle", "/read", 2 * time.Minute, []string{"load"}},
			{"after a tenth of Idle", "/read", 2 * time.Minute, []string{"load", "touch"}},
			{"again at once", "/read", 0, []string{"load"}},
			{"a login", "/login?user=ann", 0, []string{"load", "load", "create", "update"}},
			{"as a subject", "/read", 0, []string{"load"}},
			{"setting what is set", "/same", 0, []string{"load"}},
			{"changes after the first byte", "/stream", 0, []string{"load", "update", "load", "update"}},
			{"a logout", "/logout", 0, []string{"load", "update"}},
			{"afterwards", "/read", 0, nil},
		}
		for _, step := range steps {
			time.Sleep(step.after)
			w := b.do("POST", step.path)
			if got := store.taken(); w.Code != http.StatusOK || !slices.Equal(got, step.want) {
				t.Errorf("%s: %d, calls %v, want %v", step.name, w.Code, got, step.want)
			}
		}
	})
}
