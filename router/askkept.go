package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

const keptSize = 8 << 10 // bytes of the fields of a pass that is kept

// A question is what a service is told of a request, as hashes: exact of all of it, wide of
// who asks alone.
type question struct{ exact, wide [sha256.Size]byte }

// question returns what the service is told of r, where that is not everything.
func (a *Ask) question(r *http.Request) (q question) {
	mac := hmac.New(sha256.New, a.key)
	add(mac, transit.Client(r).String())
	add(mac, transit.Scheme(r))
	add(mac, r.Host)
	for _, name := range a.opts.By {
		lines := r.Header[name]
		fmt.Fprintf(mac, "%d:", len(lines))
		for _, line := range lines {
			add(mac, line)
		}
	}
	for name, pair := range fields.Cookies(r.Header) {
		if slices.Contains(a.opts.Cookies, name) {
			add(mac, pair)
		}
	}
	mac.Sum(q.wide[:0])
	add(mac, r.Method)
	add(mac, target.Of(r.URL).Location())
	mac.Sum(q.exact[:0])
	return q
}

// add adds a part, which another with more or less in it is not.
func add(to hash.Hash, part string) { fmt.Fprintf(to, "%d:%s", len(part), part) }

// findPass returns a pass that answers q, or nil.
func (a *Ask) findPass(q question, now time.Time) *ruling {
	for _, as := range [...][sha256.Size]byte{q.wide, q.exact} {
		if s, ok := a.kept.find(as, now); ok {
			return s
		}
	}
	return nil
}

// keepPass keeps s, which answers q, for as long as it says.
func (a *Ask) keepPass(q question, s *ruling, now time.Time) {
	lifetime := keepFor(s)
	if lifetime <= 0 {
		return
	}
	as := q.exact
	if ofAllTargets(s.header) {
		as = q.wide
	}
	a.kept.keep(as, &ruling{status: s.status, header: s.header}, lifetime, now) // no more of it
}

// keepFor returns for how long an answer may be used again (RFC 9111, section 4.2): only
// as it says itself, and as nobody else is told of it.
func keepFor(s *ruling) time.Duration {
	if !s.passes() || len(s.header["Set-Cookie"]) > 0 || slices.Contains(fields.List(s.header["Vary"]), "*") {
		return 0
	}
	size := 0
	for name, lines := range s.header {
		size += len(name)
		for _, line := range lines {
			size += len(line)
		}
	}
	if size > keptSize {
		return 0
	}
	lifetime, stated := askRemember, false
	for _, directive := range fields.List(s.header["Cache-Control"]) {
		name, value, _ := strings.Cut(strings.ToLower(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			age, _ := fields.DeltaSeconds(strings.Trim(value, `"`)) // no number is stale at once
			lifetime, stated = min(lifetime, age), true
		}
	}
	if lines := s.header["Age"]; len(lines) > 0 {
		age, ok := fields.DeltaSeconds(lines[0])
		if !ok {
			return 0
		}
		lifetime -= age
	}
	if !stated {
		return 0
	}
	return lifetime
}

// ofAllTargets reports whether an answer says on what it depends, and that this is
// neither the target nor the method.
func ofAllTargets(h http.Header) bool {
	names := fields.List(h["Vary"])
	return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool {
		return fields.EqualFold(name, "X-Forwarded-Uri") || fields.EqualFold(name, "X-Forwarded-Method")
	})
}
