package edgetest

import (
	"log/slog"
	"strings"
	"sync"
)

// A Log keeps what the parts of a front log, line by line, as slog's text handler writes
// them. The zero value is ready, and safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

// Logger returns a logger, for the Logger of every part's options.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Lines returns the lines that have all the words, such as "status=503" and "target=/cart",
// without their end; with no words, all lines.
func (l *Log) Lines(words ...string) (lines []string) {
	l.mu.Lock()
	text := l.b.String()
	l.mu.Unlock()
	for line := range strings.Lines(text) {
		if has(line, words) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func has(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}
