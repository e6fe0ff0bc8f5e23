package law

import "time"

// Stored is what the law needs to know of a stored response. Times are Unix
// nanoseconds.
type Stored struct {
	Born       int64 // when its age was zero
	FreshUntil int64
	Purged     int64 // when a soft purge hit it; 0: none has
	Grace      time.Duration
	ErrorGrace time.Duration
	PurgeGrace time.Duration // in place of Grace once purged
	Validate   bool          // no-cache
	NoStale    bool          // must-revalidate and kin
	Immutable  bool          // RFC 8246
}

// A Use is what may be done with a stored response.
type Use uint8

const (
	Ask   Use = iota // only after the backend has been asked
	Fresh            // serve it
	Grace            // serve it and refresh it behind the client's back
	Sick             // serve it in place of an error only
)

// Reuse decides what a request may be served from what is stored (RFC 9111,
// section 4), with its directives (section 5.2.1) and the windows of RFC 5861: the
// first step that applies, as long as the RFC's.
func Reuse(s Stored, cc Directives, now int64) Use {
	fresh, grace := s.FreshUntil, s.Grace
	if s.Purged != 0 && s.Purged < fresh {
		fresh, grace = s.Purged, s.PurgeGrace
	}
	if s.NoStale {
		grace = 0
	}
	switch {
	case s.Validate:
		return Ask
	case now >= fresh:
	case len(cc) == 0 || s.Immutable:
		return Fresh
	case enough(s, cc, fresh, now):
		return Fresh
	default:
		return Sick
	}
	if d, ok := maxStale(cc); ok && !s.NoStale && s.Purged == 0 && time.Duration(now-fresh) <= d {
		return Fresh
	}
	switch late := time.Duration(now - fresh); {
	case s.NoStale:
		return Ask
	case len(cc) > 0 && (cc.Has("no-cache") || cc.Has("max-age") || cc.Has("min-fresh")):
		return Sick
	case late < grace:
		return Grace
	case late < s.ErrorGrace:
		return Sick
	}
	return Ask
}

// enough reports whether a fresh response is fresh enough for the request.
func enough(s Stored, cc Directives, fresh, now int64) bool {
	if cc.Has("no-cache") {
		return false
	}
	if d, ok := cc.Seconds("max-age"); ok && time.Duration(now-s.Born) > d {
		return false
	}
	if d, ok := cc.Seconds("min-fresh"); ok && time.Duration(fresh-now) < d {
		return false
	}
	return true
}

// maxStale returns how stale a response the request accepts (RFC 9111, section
// 5.2.1.2).
func maxStale(cc Directives) (time.Duration, bool) {
	if !cc.Has("max-stale") {
		return 0, false
	}
	if cc.Bare("max-stale") {
		return forever, true
	}
	return cc.Seconds("max-stale")
}
