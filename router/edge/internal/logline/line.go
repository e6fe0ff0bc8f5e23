// Package logline writes lines of a log as slog's handlers do, byte for byte, but
// with neither fmt, reflection nor memory of its own.
package logline

import (
	"log/slog"
	"net/netip"
	"strconv"
	"time"
)

// A Line is a line that is being written. The zero value is one of slog's
// TextHandler. Keys are written as they are, and must need no quotes, but those given
// to Value.
type Line struct {
	B    []byte // what there is of it
	JSON bool   // as slog's JSONHandler writes it

	begun bool   // a key needs something before it
	group []byte // what names of keys in groups begin with; text only
}

// Reset begins another line, of the same form, in the same memory.
func (l *Line) Reset() { l.B, l.begun, l.group = l.B[:0], false, l.group[:0] }

// Begin writes what every line begins with; no time, if at is zero. It reports
// false, if that is left to slog: see [Line.Value].
func (l *Line) Begin(at time.Time, level slog.Level, message string) bool {
	if l.JSON {
		l.B = append(l.B, '{')
	}
	if !at.IsZero() {
		l.name(slog.TimeKey)
		if !l.time(at) {
			return false
		}
	}
	l.Word(slog.LevelKey, level.String())
	l.String(slog.MessageKey, message)
	return true
}

// Raw writes what other lines of this form have between Begin and End.
func (l *Line) Raw(b []byte) {
	l.B = append(l.B, b...)
	l.begun = l.begun || len(b) > 0
}

// Continue says that something stands before the line.
func (l *Line) Continue() { l.begun = true }

// End writes what every line ends with.
func (l *Line) End() {
	if l.JSON {
		l.B = append(l.B, '}')
	}
	l.B = append(l.B, '\n')
}

// String writes a key and a text.
func (l *Line) String(key, value string) {
	l.name(key)
	l.text(value)
}

// Word writes a key and a text that needs no quotes either.
func (l *Line) Word(key, value string) {
	l.name(key)
	l.word(value)
}

func (l *Line) word(s string) {
	if l.JSON {
		l.B = append(append(append(l.B, '"'), s...), '"')
	} else {
		l.B = append(l.B, s...)
	}
}

// Addr writes a key and an address, or what netip says of none.
func (l *Line) Addr(key string, addr netip.Addr) {
	if !addr.IsValid() || addr.Zone() != "" {
		l.String(key, addr.String())
		return
	}
	l.name(key)
	if l.JSON {
		l.B = append(addr.AppendTo(append(l.B, '"')), '"')
	} else {
		l.B = addr.AppendTo(l.B)
	}
}

// Int writes a key and a number.
func (l *Line) Int(key string, n int64) {
	l.name(key)
	l.B = strconv.AppendInt(l.B, n, 10)
}

// True writes a key and that it is so.
func (l *Line) True(key string) {
	l.name(key)
	l.B = append(l.B, "true"...)
}

// Seconds writes a key and d in seconds, to a microsecond.
func (l *Line) Seconds(key string, d time.Duration) {
	l.name(key)
	d = d.Round(time.Microsecond)
	switch n := byte(d / time.Microsecond); {
	case d <= 0 || d >= time.Second:
		l.float(d.Seconds())
	case l.JSON || d >= 100*time.Microsecond:
		l.B = appendFraction(append(l.B, '0'), int(d))
	case n < 10: // text has an exponent from here on
		l.B = append(append(l.B, '0'+n), "e-06"...)
	case n%10 == 0:
		l.B = append(append(l.B, '0'+n/10), "e-05"...)
	default:
		l.B = append(append(l.B, '0'+n/10, '.', '0'+n%10), "e-05"...)
	}
}

// appendFraction appends ns billionths as .999999999 of package time does.
func appendFraction(b []byte, ns int) []byte {
	if ns == 0 {
		return b
	}
	var digits [10]byte
	digits[0] = '.'
	last := 0
	for i := 9; i > 0; i-- {
		d := byte(ns % 10)
		ns /= 10
		digits[i] = '0' + d
		if last == 0 && d != 0 {
			last = i
		}
	}
	return append(b, digits[:last+1]...)
}

// Value writes a key and a value. It reports false if the value is of a kind that
// only slog knows how to write: then the line is to be written by slog.
func (l *Line) Value(key string, v slog.Value) bool {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindString:
		l.key(key)
		l.text(v.String())
	case slog.KindInt64:
		l.key(key)
		l.B = strconv.AppendInt(l.B, v.Int64(), 10)
	case slog.KindUint64:
		l.key(key)
		l.B = strconv.AppendUint(l.B, v.Uint64(), 10)
	case slog.KindFloat64:
		l.key(key)
		return l.float(v.Float64())
	case slog.KindBool:
		l.key(key)
		l.B = strconv.AppendBool(l.B, v.Bool())
	case slog.KindDuration:
		l.key(key)
		if l.JSON {
			l.B = strconv.AppendInt(l.B, int64(v.Duration()), 10)
		} else {
			l.B = append(l.B, v.Duration().String()...)
		}
	case slog.KindTime:
		l.key(key)
		return l.time(v.Time())
	case slog.KindGroup:
		return l.attrs(key, v.Group())
	default:
		return false
	}
	return true
}

// attrs writes a group, or its attributes, if it has no name.
func (l *Line) attrs(name string, attrs []slog.Attr) bool {
	if len(attrs) == 0 {
		return true
	}
	outer := len(l.group)
	if name != "" {
		l.open(name)
	}
	for _, a := range attrs {
		if !l.Value(a.Key, a.Value) {
			return false
		}
	}
	if name != "" && l.JSON {
		l.B = append(l.B, '}')
	}
	l.begun, l.group = true, l.group[:outer]
	return true
}

func (l *Line) open(name string) {
	if l.JSON {
		l.key(name)
		l.B = append(l.B, '{')
		l.begun = false
	} else {
		l.group = append(append(l.group, name...), '.')
	}
}

// name writes what stands before a value outside of groups, whose key needs no
// quotes.
func (l *Line) name(key string) {
	b := l.B
	switch {
	case l.JSON && l.begun:
		b = append(append(append(b, ',', '"'), key...), '"', ':')
	case l.JSON:
		b = append(append(append(b, '"'), key...), '"', ':')
	case l.begun:
		b = append(append(append(b, ' '), key...), '=')
	default:
		b = append(append(b, key...), '=')
	}
	l.B, l.begun = b, true
}

// key writes what stands before any value.
func (l *Line) key(key string) {
	if l.JSON {
		if l.begun {
			l.B = append(l.B, ',')
		}
		l.B = append(appendJSON(l.B, key), ':')
	} else {
		if l.begun {
			l.B = append(l.B, ' ')
		}
		if len(l.group) == 0 {
			l.B = appendText(l.B, key)
		} else if group := string(l.group); isPlain(group) && isPlain(key) {
			l.B = append(append(l.B, group...), key...)
		} else {
			l.B = strconv.AppendQuote(l.B, group+key)
		}
		l.B = append(l.B, '=')
	}
	l.begun = true
}

func (l *Line) text(s string) {
	if l.JSON {
		l.B = appendJSON(l.B, s)
	} else {
		l.B = appendText(l.B, s)
	}
}

// float reports false for what JSON has no word for.
func (l *Line) float(f float64) bool {
	if !l.JSON {
		l.B = strconv.AppendFloat(l.B, f, 'g', -1, 64)
		return true
	}
	abs := max(f, -f)
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) || abs != abs {
		return false // an exponent, which JSON writes in a way of its own
	}
	l.B = strconv.AppendFloat(l.B, f, 'f', -1, 64)
	return true
}
