package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/session"
)

// popping is a handler that leaves a message and shows it once.
func popping() http.Handler {
	return script(handlers{
		"/leave": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", errors.Join(s.Set("message", "thank you"), s.Set("other", 1)))
		},
		"/pop": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, ok, err := session.Pop[string](s, "message")
			answer(w, fmt.Sprintf("%s %t", v, ok), err)
		},
		"/number": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, ok, err := session.Pop[int](s, "message")
			answer(w, fmt.Sprintf("%d %t %t", v, ok, err != nil), nil)
		},
		"/keys": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			keys, err := s.Keys()
			answer(w, keys, err)
		},
	})
}

func TestPop(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(popping()))
	for _, step := range []struct{ path, want string }{
		{"/keys", "null"}, {"/pop", `" false"`}, {"/leave", `""`}, {"/keys", `["message","other"]`},
		{"/number", `"0 false true"`}, {"/keys", `["message","other"]`},
		{"/pop", `"thank you true"`}, {"/pop", `" false"`}, {"/keys", `["other"]`},
	} {
		if w := b.do("GET", step.path); w.Code != http.StatusOK || body(w) != step.want {
			t.Errorf("%s: %d %s, want %s", step.path, w.Code, body(w), step.want)
		}
	}
}

// TestOnePops: of many requests that pop one value, and of many goroutines of one
// request, one has it and answers.
func TestOnePops(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		b := newBrowser(manager(t, open(), session.Options{}).Handler(popping()))
		b.do("POST", "/leave")
		var wg sync.WaitGroup
		codes := make([]int, 20)
		var got atomic.Int32
		for i := range codes {
			b := b.with()
			wg.Go(func() {
				w := b.do("GET", "/pop")
				if codes[i] = w.Code; body(w) == `"thank you true"` {
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 || slices.ContainsFunc(codes, func(c int) bool { return c != http.StatusOK && c != http.StatusConflict }) {
			t.Errorf("%d got it, codes %v", got.Load(), codes)
		}
	})
	var got atomic.Int32 // of what decodes slowly, so that they meet
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			err := s.Set("message", "thank you")
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if v, ok, err := session.Pop[slow](s, "message"); ok && err == nil {
						got.Add(1)
					} else if err != nil || v != "" {
						t.Errorf("%q, %v", v, err)
					}
				})
			}
			wg.Wait()
			answer(w, "", err)
		},
	})))
	if w := b.do("GET", "/"); w.Code != http.StatusOK || got.Load() != 1 {
		t.Errorf("%d: %d goroutines got it", w.Code, got.Load())
	}
}

// slow is a string that yields while it is decoded.
type slow string

func (s *slow) UnmarshalText(text []byte) error {
	for range 100 {
		runtime.Gosched()
	}
	*s = slow(text)
	return nil
}

func TestPopWithoutAManager(t *testing.T) {
	var s *session.Session
	if _, _, err := session.Pop[int](s, "a"); !errors.Is(err, session.ErrNoManager) {
		t.Errorf("Pop: %v", err)
	}
	if _, err := s.Keys(); !errors.Is(err, session.ErrNoManager) {
		t.Errorf("Keys: %v", err)
	}
}
