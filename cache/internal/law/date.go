package law

import (
	"strings"
	"time"
)

// The three forms of a date (RFC 9110, section 5.6.7), and nothing besides.
const (
	imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"
	rfc850     = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime    = "Mon Jan _2 15:04:05 2006"
)

// ParseDate parses an HTTP date to the letter (RFC 9110, section 5.6.7), but in
// any case (RFC 9111, section 4.2): [net/http.ParseTime] takes one-digit days,
// other zones and wrong weekdays too. A two-digit year more than 50 years
// ahead of now is in the past.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	if t, ok := fixdate(s); ok {
		return t, true
	}
	return anyDate(s, now)
}

// fixdate reads an IMF-fixdate, as nearly every date is: each answer has one, and to
// find the layout out, and to write the date again, costs more than all else of it. What
// it does not read may be a date all the same.
func fixdate(s string) (time.Time, bool) {
	if len(s) != len(imfFixdate) || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' ||
		s[19] != ':' || s[22] != ':' || s[25:] != " GMT" {
		return time.Time{}, false
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[8:11])
	day, hour, minute, second := digits(s[5:7]), digits(s[17:19]), digits(s[20:22]), digits(s[23:25])
	century, year := digits(s[12:14]), digits(s[14:16])
	if month%3 != 0 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 || century < 0 || year < 0 {
		return time.Time{}, false
	}
	t := time.Date(century*100+year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day && t.Weekday().String()[:3] == s[:3]
}

// digits returns the number of two digits; -1: they are none.
func digits(s string) int {
	a, b := s[0]-'0', s[1]-'0'
	if a > 9 || b > 9 {
		return -1
	}
	return int(a)*10 + int(b)
}

// anyDate is ParseDate for all forms.
func anyDate(s string, now time.Time) (time.Time, bool) {
	if len(s) > len("Wednesday, 02-Jan-06 15:04:05 GMT") { // a hostile one may be as long as a header
		return time.Time{}, false
	}
	upper := strings.ToUpper(s)
	for _, form := range [...]string{imfFixdate, rfc850, asctime} {
		t, err := time.Parse(form, upper)
		if err != nil {
			continue
		}
		t = t.UTC()
		if form == rfc850 {
			t = t.AddDate(now.UTC().Year()/100*100-t.Year()/100*100, 0, 0)
			if t.After(now.AddDate(50, 0, 0)) {
				t = t.AddDate(-100, 0, 0)
			}
		}
		// Parsing is lenient, also about the weekday; formatting is not.
		return t, strings.EqualFold(t.Format(form), s)
	}
	return time.Time{}, false
}

// MayBeRange reports whether the value of an If-Range may be an entity tag or a
// date (RFC 9110, section 13.1.5). It looks no further than at its beginning and
// its length.
func MayBeRange(s string) bool {
	return strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "W/") || len(s) <= len("Wednesday, 02-Jan-06 15:04:05 GMT")
}

// single returns a field that must be there once (RFC 9110, section 5.3).
func single(lines []string) (string, bool) {
	if len(lines) != 1 {
		return "", false
	}
	return lines[0], true
}
