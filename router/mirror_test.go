package router_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/router"
)

func TestMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var copies atomic.Int64
		release := make(chan struct{})
		m := router.NewMirror(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			copies.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			w.WriteHeader(500)
			panic("a broken copy")
		}))
		rt := mustNew(t, router.Rule{Name: "shop", To: say("apps"), Use: []func(http.Handler) http.Handler{m.Handler}})
		get(rt, "/before-run")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()

		send := func(change func(*http.Request)) {
			r := request("GET", "/a")
			change(r)
			ctx, cancel := context.WithCancel(r.Context())
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r.WithContext(ctx))
			cancel() // as the server does
			if w.Body.String() != "apps /a" {
				t.Errorf("the original got %q", w.Body)
			}
		}
		send(func(r *http.Request) { r.Method = "POST" })
		send(func(r *http.Request) { r.Header.Set("Cookie", "a=1") })
		send(func(r *http.Request) { r.Header.Set("Authorization", "x") })
		send(func(r *http.Request) { r.ContentLength = 1 })
		synctest.Wait()
		if n := copies.Load(); n != 0 {
			t.Errorf("%d copies of what must not be copied", n)
		}
		for range 100 {
			send(func(*http.Request) {})
		}
		synctest.Wait()
		if n := copies.Load(); n != 8 {
			t.Errorf("%d copies at once, want 8", n)
		}
		close(release)
		synctest.Wait()
		if got := m.Report().Metrics; got[0].Value+got[1].Value != 100 || got[0].Value < 64 || got[1].Value == 0 {
			t.Errorf("sent and dropped: %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A copy lives no longer than its time, and than Run.
func TestMirrorEnds(t *testing.T) {
	for name, want := range map[string]time.Duration{"its time": 30 * time.Second, "Run": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var took time.Duration
			m := router.NewMirror(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				began := time.Now()
				<-r.Context().Done()
				took = time.Since(began)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			synctest.Wait()
			get(m.Handler(say("x")), "/")
			time.Sleep(time.Second)
			if name == "its time" {
				time.Sleep(time.Minute)
			}
			cancel()
			<-done
			if took != want {
				t.Errorf("%s: ended after %s, want %s", name, took, want)
			}
		})
	}
}
