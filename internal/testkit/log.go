package testkit

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// A Log keeps what is written to it, for any number of goroutines. The zero
// Log is ready.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

// Logger returns a logger of every level that writes text to the log.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Wants waits until one line has all the words, and fails the test if none
// comes.
func (l *Log) Wants(tb testing.TB, words ...string) {
	tb.Helper()
	defer func() {
		if tb.Failed() {
			tb.Logf("the log:\n%s", l)
		}
	}()
	Within(tb, Patience, fmt.Sprintf("a line of the log has %q", words), func() bool { return l.has(words) })
}

func (l *Log) has(words []string) bool {
line:
	for line := range strings.Lines(l.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue line
			}
		}
		return true
	}
	return false
}
