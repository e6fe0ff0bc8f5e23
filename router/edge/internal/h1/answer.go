package h1

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// What follows says of an answer what is so in either version of HTTP.

// MayHaveBody reports whether an answer with this status may have a body (RFC 9110, section
// 6.4.1).
func MayHaveBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// LengthOf returns the length of the body that values of Content-Length announce for an
// answer with this status, and whether they do.
func LengthOf(values []string, status int) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.Join(values, ","), 10, 64)
	return n, err == nil && n >= 0 && MayHaveBody(status)
}

// AddTrailers adds to names those that values of Trailer announce, in canonical form.
func AddTrailers(names, values []string) []string {
	for name := range fields.Members(values) {
		if name = http.CanonicalHeaderKey(name); http1.MayTrail(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
