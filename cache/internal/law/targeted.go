package law

import (
	"net/textproto"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/foretier/foretier/internal/fields"
)

// An Addressee is a cache as fields address it.
type Addressee struct {
	name  string
	field string // that is for it only: <name>-Cache-Control
}

// Called returns the cache of this name.
func Called(name string) Addressee {
	return Addressee{name, textproto.CanonicalMIMEHeaderKey(name + "-Cache-Control")}
}

// control returns the directives that bind the response's cache: those of the
// first field that is there, valid and not empty of <name>-Cache-Control,
// CDN-Cache-Control (RFC 9213, section 2.2), Surrogate-Control and, not
// targeted, Cache-Control. They are appended to room.
func control(res Response, room Directives) (cc Directives, targeted bool) {
	h := res.Header
	if lines := h[res.Cache.field]; len(lines) > 0 {
		if cc := parseTargeted(lines); len(cc) > 0 {
			return cc, true
		}
	}
	if lines := h["Cdn-Cache-Control"]; len(lines) > 0 {
		if cc := parseTargeted(lines); len(cc) > 0 {
			return cc, true
		}
	}
	if lines := h["Surrogate-Control"]; len(lines) > 0 {
		if cc := parseSurrogate(lines, res.Cache.name); len(cc) > 0 {
			return cc, true
		}
	}
	return room.parse(h["Cache-Control"]), false
}

// parseTargeted parses a targeted field, a dictionary of Structured Fields. One
// that does not parse, or gives seconds as anything but an integer, is ignored
// whole (RFC 9213, section 2.1).
func parseTargeted(lines []string) Directives {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return nil
	}
	var out Directives
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		d := Directive{Name: name}
		switch v := item.Value.(type) {
		case bool:
			if !v {
				continue // no-store=?0
			}
		case int64:
			d.Value = strconv.FormatInt(v, 10)
		case string:
			d.Value = v
		case httpsfv.Token:
			d.Value = string(v)
		}
		if _, integer := item.Value.(int64); seconds[name] && !integer {
			return nil
		}
		out = append(out, d)
	}
	return out
}

// seconds are the directives whose argument is a number of seconds.
var seconds = map[string]bool{
	"max-age": true, "s-maxage": true, "stale-while-revalidate": true, "stale-if-error": true,
}

// parseSurrogate parses Surrogate-Control (Edge Architecture Specification,
// W3C Note, 2001): directives of Cache-Control's form, each of which may be
// meant for one surrogate only, max-age=60;name, and max-age=60+30, which
// allows 30 seconds of staleness.
func parseSurrogate(lines []string, name string) Directives {
	var members []string
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = fields.CutMember(line)
			member, target, targeted := strings.Cut(member, ";")
			if targeted && !strings.EqualFold(textproto.TrimString(target), name) {
				continue
			}
			age, stale, ok := strings.Cut(textproto.TrimString(member), "+")
			if ok && strings.HasPrefix(strings.ToLower(age), "max-age=") {
				members = append(members, age, "stale-while-revalidate="+stale)
				continue
			}
			members = append(members, member)
		}
	}
	cc := ParseDirectives(members)
	for _, d := range cc {
		switch d.Name {
		case "max-age", "no-store":
			return cc
		}
	}
	return nil // content="ESI/1.0" alone says nothing of lifetimes
}
