package logline

import (
	"sync/atomic"
	"time"
)

// A Stamp formats times of which many are in one second. It is safe for concurrent
// use.
type Stamp struct {
	Layout string // of seconds
	last   atomic.Pointer[second]
}

// A second is one that has been formatted.
type second struct {
	unix  int64
	place *time.Location
	text  string
}

// String returns t, to a second.
func (s *Stamp) String(t time.Time) string {
	unix, place := t.Unix(), t.Location()
	last := s.last.Load()
	if last == nil || last.unix != unix || last.place != place {
		last = &second{unix, place, t.Format(s.Layout)}
		s.last.Store(last)
	}
	return last.text
}

var stamp = Stamp{Layout: time.RFC3339}

// time writes t as slog does: to the millisecond in text, to the nanosecond in JSON.
// It reports false for years that RFC 3339 has no form for.
func (l *Line) time(t time.Time) bool {
	const seconds = len("2006-01-02T15:04:05")
	text := stamp.String(t)
	if text[0] == '-' || text[4] != '-' { // no year of four digits
		return false
	}
	b := l.B
	if l.JSON {
		b = append(b, '"')
	}
	b = append(b, text[:seconds]...)
	if ns := t.Nanosecond(); l.JSON {
		b = appendFraction(b, ns)
	} else {
		ms := ns / 1e6
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	b = append(b, text[seconds:]...)
	if l.JSON {
		b = append(b, '"')
	}
	l.B = b
	return true
}
