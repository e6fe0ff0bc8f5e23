// Package testkit has what the tests of many packages need: ends of connections
// on loopback, logs that can be waited for, certificates. It knows nothing of
// what is tested. Real servers are package servertest's.
package testkit

import (
	"testing"
	"time"
)

// Patience bounds what must come soon, on a machine that may be slow. It is no
// measure: a test that needs all of it has failed.
const Patience = 20 * time.Second

// Within waits for what another goroutine or process does, and fails the test
// if ok does not report it in time. It calls ok from the test's goroutine.
func Within(tb testing.TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatalf("not within %v: %s", limit, what)
}
