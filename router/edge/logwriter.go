package edge

import (
	"io"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// A LogWriter stands between a log and what it is written to, a pipe as a rule,
// whose reader may stand still: who writes never waits. Up to 1 MiB of lines are
// kept meanwhile, those beyond are dropped and counted. It is for a handler of
// slog, as in
//
//	slog.New(slog.NewJSONHandler(edge.NewLogWriter(os.Stderr, nil), nil))
//
// and safe for concurrent use.
type LogWriter struct {
	w    io.Writer
	lost func(lines uint64)

	mu      sync.Mutex
	pending []byte        // guarded by mu: whole lines
	taken   int           // guarded by mu: bytes that are being written
	spare   []byte        // guarded by mu: to be used again
	writing bool          // guarded by mu: a goroutine writes, until nothing is pending
	idle    chan struct{} // guarded by mu: closed when it has ended; nil if nobody waits
	untold  uint64        // guarded by mu: lines dropped since lost was told
	dropped uint64        // guarded by mu: all of them
}

// maxPending is how much of a log waits for its reader, in bytes.
const maxPending = 1 << 20

// NewLogWriter returns a writer to w. If lines were dropped, lost is told how
// many once there is room again, so that it may write a line itself; nil tells
// nobody.
func NewLogWriter(w io.Writer, lost func(lines uint64)) *LogWriter {
	return &LogWriter{w: w, lost: lost}
}

// Write takes p, one line or several. It never fails, since nobody can do
// anything about a log that cannot be written.
func (l *LogWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending)+l.taken+len(p) > maxPending {
		l.untold++
		l.dropped++
		return len(p), nil
	}
	if l.pending == nil {
		l.pending, l.spare = l.spare[:0], nil
	}
	l.pending = append(l.pending, p...)
	if !l.writing {
		l.writing = true
		go l.drain() // until nothing is pending; Close waits for it
	}
	return len(p), nil
}

// drain writes what is pending, however much that has become.
func (l *LogWriter) drain() {
	l.mu.Lock()
	for len(l.pending) > 0 {
		p, untold := l.pending, l.untold
		l.pending, l.untold, l.taken = nil, 0, len(p)
		l.mu.Unlock()
		_, _ = l.w.Write(p) // see Write
		l.free()
		if untold > 0 && l.lost != nil {
			l.lost(untold)
		}
		l.mu.Lock()
		if cap(p) <= 64<<10 {
			l.spare = p
		}
	}
	l.writing = false
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
	l.mu.Unlock()
}

// free gives room back before lost is told, which may write.
func (l *LogWriter) free() {
	l.mu.Lock()
	l.taken = 0
	l.mu.Unlock()
}

// Close waits until what is pending is written, for a second at most. It does
// not close what is written to, and lines that come later are written too.
func (l *LogWriter) Close() error {
	l.mu.Lock()
	if !l.writing {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
	return nil
}

// Report implements [health.Reporter].
func (l *LogWriter) Report() health.Report {
	l.mu.Lock()
	dropped, pending := l.dropped, len(l.pending)+l.taken
	l.mu.Unlock()
	return health.Report{Kind: "log", Name: "log", State: health.Up, Metrics: []health.Metric{
		health.Count("lines_dropped_total", "Lines dropped, since the log's reader stood still.", dropped),
		health.Level("pending_bytes", "Pending lines, which wait for the log's reader.", "bytes", float64(pending)),
	}}
}
