package esi

import (
	"log/slog"
	"strconv"
)

// A note is what the log line says of a composed page.
type note struct{ fragments, failed int }

// LogValue implements [slog.LogValuer].
func (n note) LogValue() slog.Value {
	s := "fragments: " + strconv.Itoa(n.fragments)
	if n.failed > 0 {
		s += ", missing: " + strconv.Itoa(n.failed)
	}
	return slog.StringValue(s)
}

// note tells of the page, which has been sent.
func (w *writer) note() note {
	if w.page == nil {
		return note{}
	}
	return note{fragments: w.page.count, failed: w.page.failed}
}
