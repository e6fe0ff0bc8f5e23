package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// testLimits holds a manager's two limits against the clock.
func testLimits(t *testing.T, opts session.Options, idle, lifetime time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t, session.Memory(), opts)
		b := newBrowser(m.Handler(app()))
		b.do("POST", "/add?sku=tea")
		time.Sleep(idle - time.Second)
		if got := body(b.do("GET", "/read")); got != `{"tea":1}` {
			t.Fatalf("just before the idle timeout: %s", got)
		}
		time.Sleep(idle)
		if got := body(b.do("GET", "/read")); got != "null" {
			t.Fatalf("after the idle timeout: %s", got)
		}

		start := time.Now()
		b.do("POST", "/add?sku=pot")
		for time.Since(start) < lifetime-idle/2 {
			if got := body(b.do("GET", "/read")); got != `{"pot":1}` {
				t.Fatalf("used all the time, after %v: %s", time.Since(start), got)
			}
			time.Sleep(idle / 2)
		}
		time.Sleep(lifetime - time.Since(start))
		if got := body(b.do("GET", "/read")); got != "null" {
			t.Errorf("past its lifetime: %s", got)
		}
	})
}
