package testkit

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of a package, for its TestMain, and fails if they leave a goroutine
// of this module behind.
func Main(m *testing.M) {
	code := m.Run()
	if left := leaked(10 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of our goroutines, once they have had time to end. It
// looks again and again, in real time: whose they are nobody knows, so there is
// nobody to wait for.
func leaked(patience time.Duration) string {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // they end by themselves
		buf := make([]byte, 4<<20)
		var ours []string
		for i, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && strings.Contains(stack, "foretier/") { // the first is this one
				ours = append(ours, stack)
			}
		}
		if len(ours) == 0 || time.Now().After(end) {
			return strings.Join(ours, "\n\n")
		}
	}
}
