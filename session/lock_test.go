package session_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// TestASlowRequestHoldsUpNoOther, as it does where a session is locked for a
// request.
func TestASlowRequestHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := add(s, "slow")
				time.Sleep(time.Minute)
				answer(w, "slow", err)
			},
		})))
		b.do("POST", "/add?sku=first")
		slow := make(chan int)
		other := b.with()
		go func() { slow <- other.do("POST", "/slow").Code }()
		synctest.Wait()
		start := time.Now()
		b.do("POST", "/add?sku=fast")
		if waited := time.Since(start); waited > 0 {
			t.Errorf("waited %v for a slow request", waited)
		}
		if code := <-slow; code != http.StatusOK {
			t.Errorf("the slow one: %d", code)
		}
		if got := body(b.do("GET", "/read")); got != `{"fast":1,"first":1,"slow":1}` {
			t.Errorf("got %s", got)
		}
	})
}

// TestWhoCannotHaveTheLockIsTold: and the client gets an error instead of a page.
func TestWhoCannotHaveTheLockIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, most := 0, 0
		var took []time.Duration
		m := manager(t, session.Memory(), session.Options{})
		b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/pay": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				start := time.Now()
				if err := s.Lock(); err != nil {
					if !errors.Is(err, session.ErrLocked) {
						t.Errorf("Lock: %v", err)
					}
					took = append(took, time.Since(start))
					_ = s.Set("paid", true)
					io.WriteString(w, "a page in spite of it")
					return
				}
				inside++
				most = max(most, inside)
				if r.FormValue("panic") != "" {
					inside--
					panic(http.ErrAbortHandler)
				}
				d, _ := time.ParseDuration(r.FormValue("for"))
				time.Sleep(d)
				inside--
				answer(w, "paid", nil)
			},
		})))
		b.do("POST", "/add?sku=tea")
		pay := func(how string) <-chan *httptest.ResponseRecorder {
			done := make(chan *httptest.ResponseRecorder, 1)
			other := b.with()
			go func() { done <- other.do("POST", "/pay?for="+how) }()
			synctest.Wait()
			return done
		}
		first, second := pay("10s"), pay("1s")
		if w := <-second; w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || strings.Contains(w.Body.String(), "page") {
			t.Errorf("behind a long lock: %d %s", w.Code, w.Body)
		}
		if len(took) != 1 || took[0] != 5*time.Second {
			t.Errorf("waited %v, want 5s", took)
		}
		if w := <-first; w.Code != http.StatusOK {
			t.Errorf("the holder: %d", w.Code)
		}
		third, fourth := pay("1s"), pay("1s")
		if a, c := (<-third).Code, (<-fourth).Code; a != http.StatusOK || c != http.StatusOK {
			t.Errorf("one after the other: %d, %d", a, c)
		}
		func() {
			defer func() { _ = recover() }() // the abort that net/http would catch
			b.with().do("POST", "/pay?panic=1")
		}()
		if w := <-pay("1s"); w.Code != http.StatusOK {
			t.Errorf("after a handler that panicked under the lock: %d", w.Code)
		}
		if most != 1 {
			t.Errorf("%d at once under the lock", most)
		}
	})
}

// TestALockThatRanOut: a holder who is too slow does not take away the lock of
// the one who came after.
func TestALockThatRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := session.Memory()
		var machines [3]*browser
		hold := script(handlers{"/hold": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			err := s.Lock()
			if err == nil {
				d, _ := time.ParseDuration(r.FormValue("for"))
				time.Sleep(d)
			}
			answer(w, "held", err)
		}})
		for i := range machines {
			machines[i] = newBrowser(manager(t, store, session.Options{}).Handler(hold))
		}
		machines[0].do("POST", "/add?sku=tea")
		start := time.Now()
		took := make(chan string, 3)
		for i, request := range []struct {
			at   time.Duration
			hold string
		}{{0, "40s"}, {28 * time.Second, "20s"}, {41 * time.Second, "1s"}} {
			machines[i].cookies = machines[0].cookies
			go func() {
				time.Sleep(request.at)
				w := machines[i].with().do("POST", "/hold?for="+request.hold)
				took <- fmt.Sprintf("%d: %d after %v", i, w.Code, time.Since(start).Round(time.Second))
			}()
		}
		for _, want := range []string{"0: 200 after 40s", "2: 503 after 46s", "1: 200 after 50s"} {
			if got := <-took; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}
