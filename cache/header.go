package cache

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// copyTrailers copies the fields that were set after the body: those that
// Trailer announced, and those that carry [http.TrailerPrefix].
func copyTrailers(to, from http.Header) {
	for _, name := range fields.List(from["Trailer"]) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if values, ok := from[name]; ok {
			to[name] = values
		}
	}
	for name, values := range from {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			to[name] = values
		}
	}
}

func hasValidator(h http.Header) bool { return h["Etag"] != nil || h["Last-Modified"] != nil }

// without returns h without a field. The values are shared.
func without(h http.Header, name string) http.Header {
	h = maps.Clone(h)
	delete(h, name)
	return h
}
