package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

func TestLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []router.Rule{
			{Name: "search", When: router.Path("/search"), To: say("apps"), Limit: router.Limit{Rate: 0.5, Burst: 3}},
			{Name: "filter", When: router.Path("/filter"), To: say("apps"), Limit: router.Limit{Rate: 2}},
			{Name: "shop", To: say("apps")},
		}
		rt := mustNew(t, rules...)
		ask := func(path, client string) string {
			r := request("GET", path)
			r.RemoteAddr = client
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			return fmt.Sprint(w.Code, w.Header().Get("Retry-After"))
		}
		want := func(path, client string, wants ...string) {
			t.Helper()
			for i, want := range wants {
				if got := strings.TrimSpace(ask(path, client)); got != want {
					t.Errorf("%s, %s, request %d: got %s, want %s", path, client, i, got, want)
				}
			}
		}
		want("/search", "192.0.2.1:1", "200", "200", "200", "4292", "4292")
		want("/search", "192.0.2.2:1", "200")
		want("/", "192.0.2.1:1", "200")
		time.Sleep(2 * time.Second)
		want("/search", "192.0.2.1:1", "200", "4292")
		if err := rt.Update(rules...); err != nil {
			t.Fatal(err)
		}
		want("/search", "192.0.2.1:1", "4292") // the account outlives an update
		want("/search", "[2001:db8::1]:1", "200", "200")
		want("/search", "[2001:db8::ffff:1]:1", "200", "4292") // of the same /64
		want("/search", "[2001:db8:0:1::1]:1", "200")
		want("/filter", "192.0.2.1:1", "200", "200", "4291")
		metrics := rt.Report().Parts[0].Metrics
		if got := metrics[len(metrics)-1]; got.Name != "requests_limited_total" || got.Value != 5 {
			t.Errorf("counted %v", got)
		}
	})
}

// What turns out to be a stream gives its place of the rule's back, unless the
// rule is one of streams.
func TestLimitInFlightLeavesStreamsOut(t *testing.T) {
	for _, streams := range []bool{false, true} {
		in, end := make(chan struct{}), make(chan struct{})
		rt := mustNew(t, router.Rule{Name: "events", Limit: router.Limit{InFlight: 2}, Streams: streams, To: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			transit.From(r.Context()).Streaming()
			in <- struct{}{}
			<-end
		})})
		codes := make(chan int)
		served := 0
		for range 5 {
			go func() {
				r := request("GET", "/")
				ctx, _ := transit.With(r.Context())
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, r.WithContext(ctx))
				codes <- w.Code
			}()
			select {
			case <-in:
				served++
			case code := <-codes:
				if code != 429 {
					t.Errorf("rule of streams %v: got %d", streams, code)
				}
			}
		}
		if want := map[bool]int{false: 5, true: 2}[streams]; served != want {
			t.Errorf("rule of streams %v: %d at once, want %d", streams, served, want)
		}
		close(end)
		for range served {
			<-codes
		}
	}
}

func TestLimitInFlight(t *testing.T) {
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	rt := mustNew(t, router.Rule{Name: "export", To: slow, Limit: router.Limit{InFlight: 2}})
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- get(rt, "/").Code }()
		<-entered
	}
	for range 3 {
		if w := get(rt, "/"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a third got %d", w.Code)
		}
	}
	close(leave)
	<-done
	<-done
	if w := get(rt, "/"); w.Code != http.StatusOK {
		t.Errorf("after they had ended: %d", w.Code)
	}
	for _, bad := range []router.Limit{{Rate: -1}, {InFlight: -1}, {Burst: 1}} {
		if _, err := router.New(router.Options{}, router.Rule{Name: "x", To: slow, Limit: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
