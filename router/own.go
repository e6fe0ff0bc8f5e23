package router

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// serveOwn has next answer r, whose record is rec, to a client that has been let through:
// no cache gives the answer to another, whatever it says of itself. A cache above, which
// would not ask again who may pass, does not store it. cookies are set with it.
func serveOwn(next http.Handler, w http.ResponseWriter, r *http.Request, rec *transit.Record, cookies []string) {
	below := rec.Storable != nil
	hw := &headWriter{ResponseWriter: w, final: func(_ int, h http.Header) {
		if len(cookies) > 0 {
			h["Set-Cookie"] = append(slices.Clip(h["Set-Cookie"]), cookies...)
		}
		if below {
			fields.CacheControl(h, "private, no-store")
			return
		}
		keepPrivate(h)
	}}
	next.ServeHTTP(hw, r)
	hw.change(http.StatusOK) // of one that has written nothing
}

// keepPrivate has an answer be its client's own for every cache: for as long as it says.
func keepPrivate(h http.Header) {
	if fields.OwnToClient(h) && !fields.MayBeShared(h) {
		return
	}
	lifetime, stated := lifetimeOf(h)
	directives := unstorable(h)
	if !slices.Contains(directives, "private") {
		directives = append(directives, "private")
	}
	if stated && !slices.Contains(directives, "no-store") {
		directives = append(directives, fmt.Sprintf("max-age=%d", lifetime))
	}
	fields.CacheControl(h, strings.Join(directives, ", "))
}
