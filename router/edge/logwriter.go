package edge

import (
	"io"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// A LogWriter stands between a log and what it is written to, a pipe as a rule,
// whose reader may stand still: who writes never waits. Lines are written many at a
// time: at most 100 ms late, earlier once there are 64 KiB of them, and all by Close,
// so that a program that ends, be it by a panic, loses none if it defers that. Up to
// 1 MiB of lines are kept while the reader stands still, those beyond are dropped and
// counted. It is for a [LogHandler] or another handler of slog, as in
//
//	slog.New(edge.NewLogHandler(edge.NewLogWriter(os.Stderr, nil), edge.LogOptions{}))
//
// and safe for concurrent use.
type LogWriter struct {
	w    io.Writer
	lost func(lines uint64)

	mu      sync.Mutex
	pending []byte        // guarded by mu: whole lines
	taken   int           // guarded by mu: bytes that are being written
	spare   []byte        // guarded by mu: to be used again
	timer   *time.Timer   // guarded by mu: writes what is pending; nil until the first line
	waiting bool          // guarded by mu: the timer runs, which it does only while lines are pending
	writing bool          // guarded by mu: a goroutine writes
	idle    chan struct{} // guarded by mu: closed when nothing is pending; nil if nobody waits
	untold  uint64        // guarded by mu: lines dropped since lost was told
	dropped uint64        // guarded by mu: all of them
}

const (
	maxPending = 1 << 20                // how much of a log waits for its reader, in bytes
	manyLines  = 64 << 10               // and how much is written at once
	maxLate    = 100 * time.Millisecond // what is less
)

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
	l.pending = append(l.pending, p...)
	l.scheduleLocked()
	return len(p), nil
}

// scheduleLocked sees to it that what is pending is written: when it is late, or at
// once if it is much or somebody waits for it.
func (l *LogWriter) scheduleLocked() {
	switch {
	case l.writing || len(l.pending) == 0:
	case l.urgentLocked():
		l.writing = true
		if l.waiting {
			l.waiting = false
			l.timer.Stop() // or it finds nothing
		}
		go l.drain() // until nothing is urgent; Close waits for it
	case l.waiting:
	case l.timer == nil:
		l.waiting = true
		l.timer = time.AfterFunc(maxLate, l.late)
	default:
		l.waiting = true
		l.timer.Reset(maxLate)
	}
}

func (l *LogWriter) urgentLocked() bool { return len(l.pending) >= manyLines || l.idle != nil }

// late writes what has waited for long enough.
func (l *LogWriter) late() {
	l.mu.Lock()
	l.waiting = false
	begin := !l.writing && len(l.pending) > 0
	l.writing = l.writing || begin
	l.mu.Unlock()
	if begin {
		l.drain()
	}
}

// drain writes what is pending, and goes on while there is much or somebody waits
// for it.
func (l *LogWriter) drain() {
	l.mu.Lock()
	for more := true; more; more = len(l.pending) > 0 && l.urgentLocked() {
		p, untold := l.pending, l.untold
		l.pending, l.spare, l.untold, l.taken = l.spare[:0], nil, 0, len(p)
		l.mu.Unlock()
		_, _ = l.w.Write(p) // see Write
		l.free()
		if untold > 0 && l.lost != nil {
			l.lost(untold)
		}
		l.mu.Lock()
		if cap(p) <= 2*manyLines || len(p) >= manyLines { // a larger one for as long as much comes
			l.spare = p
		}
	}
	l.writing = false
	if l.idle != nil { // then nothing is pending
		close(l.idle)
		l.idle = nil
	}
	l.scheduleLocked()
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
	if !l.writing && len(l.pending) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	l.scheduleLocked()
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
