package law

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// Lifetime returns the explicit freshness lifetime of a response (RFC 9111,
// section 4.2.1), or ok false if it states none. For a shared cache s-maxage
// goes before max-age, which goes before Expires.
func Lifetime(h http.Header, cc Directives, now time.Time) (lifetime time.Duration, ok bool) {
	if d, ok := cc.Seconds("s-maxage"); ok {
		return d, true
	}
	if d, ok := cc.Seconds("max-age"); ok {
		return d, true
	}
	lines, there := h["Expires"]
	if !there {
		return 0, false
	}
	line, ok := single(lines)
	if !ok {
		return 0, true // several: invalid, so in the past (section 5.3)
	}
	expires, ok := ParseDate(line, now)
	if !ok {
		return 0, true
	}
	return max(0, expires.Sub(date(h, now))), true
}

// Heuristic returns a freshness lifetime for a response that states none
// (RFC 9111, section 4.2.2): a tenth of the time since it was last modified,
// at most a day, and zero without Last-Modified.
func Heuristic(h http.Header, now time.Time) time.Duration {
	line, ok := single(h["Last-Modified"])
	if !ok {
		return 0
	}
	modified, ok := ParseDate(line, now)
	if !ok {
		return 0
	}
	return min(max(0, date(h, now).Sub(modified)/10), 24*time.Hour)
}

// InitialAge returns the age of a response when it arrived (RFC 9111, section
// 4.2.3, corrected_initial_age). asked is when its request was sent.
func InitialAge(h http.Header, asked, now time.Time) time.Duration {
	apparent := max(0, now.Sub(date(h, now)))
	return max(apparent, Age(h)+now.Sub(asked))
}

// Age returns the Age field: the first member of a list without its
// parameters, and zero if that is not a number of seconds (RFC 9111, section
// 5.1).
func Age(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	first, _, _ = strings.Cut(first, ";")
	age, _ := fields.DeltaSeconds(textproto.TrimString(first))
	return age
}

// date returns the Date field, or now where it is missing or invalid (RFC
// 9110, section 6.6.1).
func date(h http.Header, now time.Time) time.Time {
	if line, ok := single(h["Date"]); ok {
		if t, ok := ParseDate(line, now); ok {
			return t
		}
	}
	return now
}
