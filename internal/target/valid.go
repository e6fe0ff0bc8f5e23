package target

import (
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// Valid reports whether target is in origin form, or in absolute form with
// an http or https scheme, a host and no user (RFC 9112, section 3.2, and RFC
// 9110, section 4.2.4). Bytes that belong in no target disqualify both; what
// the path means is the router's to judge.
func Valid(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	if strings.HasPrefix(target, "/") {
		return true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !fields.EqualFold(scheme, "http") && !fields.EqualFold(scheme, "https") {
		return false
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return fields.Host(rest)
}
