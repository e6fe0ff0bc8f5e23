package session

import (
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// hasPoser reports whether h carries a cookie that poses as name.
func hasPoser(h http.Header, name string) bool {
	for sent := range fields.Cookies(h) {
		if fields.Poses(sent, name) {
			return true
		}
	}
	return false
}

// withoutPosers returns h without the cookies that pose as name, and h itself
// if there are none.
func withoutPosers(h http.Header, name string) http.Header {
	if !hasPoser(h, name) {
		return h
	}
	h = h.Clone()
	fields.DropCookies(h, func(sent string) bool { return fields.Poses(sent, name) })
	return h
}
