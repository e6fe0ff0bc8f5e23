package shop

import (
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/fields"
)

// How long a page that a shop says is everybody's is served beyond its lifetime:
// while it is refreshed, and while the backend fails.
const (
	grace      = 5 * time.Minute
	errorGrace = 72 * time.Hour
)

// notInBrowsers is what clients are told of pages: no purge reaches a browser.
const notInBrowsers = "no-store, no-cache, must-revalidate, max-age=0"

// keep says that a response is stored, whatever cookie it sets: that is the session
// which each visitor gets. What is one group's is not served while it is refreshed,
// since a refresh is made on nobody's behalf, and brings the page of no group.
func keep(v cache.Retention, group bool) cache.Retention {
	if v.SetsCookie {
		v.Store, v.Strip = true, append(v.Strip, "Set-Cookie")
	}
	if v.Fresh <= 0 {
		return v
	}
	v.Grace, v.ErrorGrace = max(v.Grace, grace), max(v.ErrorGrace, errorGrace)
	if group {
		v.Grace = 0
	}
	return v
}

// refuse says that a response is not stored.
func refuse(v cache.Retention, why string) cache.Retention {
	v.Store, v.SetsCookie, v.Why = false, false, why
	return v
}

// private reports whether a response says so.
func private(h http.Header) bool {
	for _, line := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(line), "private") {
			return true
		}
	}
	return false
}

// setCookie returns what a response sets a cookie to, "" if it deletes it, and
// whether it does either.
func setCookie(h http.Header, name string) (value string, ok bool) {
	for _, line := range h["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		as, to, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(as) != name {
			continue
		}
		if value, ok = strings.TrimSpace(to), true; value == "deleted" { // as PHP deletes
			value = ""
		}
	}
	return value, ok
}

// sets reports whether a response sets or deletes one of the cookies.
func sets(h http.Header, list ...string) bool {
	for _, name := range list {
		if _, ok := setCookie(h, name); ok {
			return true
		}
	}
	return false
}

// cookie returns the value of a visitor's cookie as it was sent, "" if there is none.
// Several of one name, or one that PHP takes for it though its name is another, make
// a value that no shop sets.
func cookie(r *http.Request, name string) string {
	value, n, odd := "", 0, false
	for sent, pair := range fields.Cookies(r.Header) {
		if poses := fields.Poses(sent, name); !poses && sent != name {
			continue
		} else if poses {
			odd = true
		}
		_, v, _ := strings.Cut(pair, "=")
		if n++; n > 1 {
			value += "; "
		}
		value += v
	}
	if odd || n > 1 {
		return "several: " + value
	}
	return value
}

// part makes a part of a key; it has none for what is not there.
func part(key []string, name, value string) []string {
	if value == "" {
		return key
	}
	return append(key, name+"="+value)
}

// keyed returns the value of a part of a key, or "".
func keyed(key []string, name string) string {
	for _, p := range key {
		if value, ok := strings.CutPrefix(p, name+"="); ok {
			return value
		}
	}
	return ""
}

// under reports whether a path lies in one of the directories.
func under(path string, dirs ...string) bool {
	for _, dir := range dirs {
		if rest, ok := strings.CutPrefix(path, dir); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
