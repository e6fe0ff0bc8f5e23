package router

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// limitFields are what a limit says of itself, the same each time.
type limitFields struct {
	policy []string // a line of RateLimit-Policy, which is not to be changed
	left   string   // how a line of RateLimit begins
}

// fieldsOf returns what a limit says: how many requests there are at most, and in how
// many seconds they are there again.
func fieldsOf(name string, burst int, every time.Duration) limitFields {
	name = quoted(name)
	policy := fmt.Sprintf("%s;q=%d;w=%d", name, min(burst, 1e15-1), seconds(saturated(burst, every)))
	return limitFields{policy: []string{policy}, left: name + ";r="}
}

// tell has a header say what is left, beside what other limits have said.
func (l *limiter) tell(h http.Header, v verdict) {
	b := append(make([]byte, 0, 64), l.says.left...)
	b = strconv.AppendInt(b, int64(v.left), 10)
	b = strconv.AppendInt(append(b, ";t="...), int64(seconds(l.reset(v))), 10)
	if others := h["Ratelimit-Policy"]; len(others) > 0 {
		h["Ratelimit-Policy"] = append(slices.Clip(others), l.says.policy...)
		h["Ratelimit"] = append(h["Ratelimit"], string(b))
		return
	}
	h["Ratelimit-Policy"], h["Ratelimit"] = l.says.policy, []string{string(b)}
}

// reset returns how long it takes until all of Burst is there again: never less than
// Retry-After says.
func (l *limiter) reset(v verdict) time.Duration {
	if !v.ok {
		return v.wait + saturated(l.Burst-1, l.every)
	}
	return saturated(l.Burst-int(v.left), l.every)
}

// saturated returns n times d, or the longest time there is.
func saturated(n int, d time.Duration) time.Duration {
	const most = 1 << 62
	if n > 0 && d > most/time.Duration(n) {
		return most
	}
	return time.Duration(n) * d
}

// quoted returns s as a String of Structured Fields (RFC 9651, section 3.3.3). What it
// cannot hold is a question mark.
func quoted(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			plain = false
		}
	}
	if plain {
		return `"` + s + `"`
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c < ' ' || c > '~':
			c = '?'
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

// named reports whether there is more to be said of a limit than how much it allows a
// client at this gateway.
func (l *limiter) named() bool { return l.By != nil || l.Store != nil }

// explain says in words what is left of a limit that lets a request through.
func (l *limiter) explain(v verdict) string {
	by, where := cmp.Or(l.by, "client"), ""
	if l.Store != nil {
		where = ", as far as this gateway knows: others count as well"
	}
	return fmt.Sprintf("within the Limit by %s: %d of %d are left at once%s", by, v.left, l.Burst, where)
}
