package fields

import (
	"net/http"
	"strconv"
)

// Length returns the length of a body that a header states (RFC 9110, section 8.6), or
// -1 if it states none, or not one alone.
func Length(h http.Header) int64 {
	lines := h["Content-Length"]
	if len(lines) != 1 {
		return -1
	}
	n, err := strconv.ParseUint(lines[0], 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}
