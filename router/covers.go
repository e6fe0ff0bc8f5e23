package router

import (
	"slices"
	"strings"
)

// covers reports whether wide provably matches all that narrow matches. It
// may be wrong only by saying no.
func covers(wide, narrow Matcher) bool {
	if wide.String() == narrow.String() {
		return true
	}
	switch n := narrow.(type) {
	case anyMatcher:
		return !slices.ContainsFunc(n, func(part Matcher) bool { return !covers(wide, part) })
	case *pathMatcher:
		if len(n.patterns) > 1 {
			return !slices.ContainsFunc(n.patterns, func(p pattern) bool {
				return !covers(wide, &pathMatcher{patterns: []pattern{p}})
			})
		}
	case allMatcher:
		if slices.ContainsFunc(n, func(part Matcher) bool { return covers(wide, part) }) {
			return true
		}
	}
	switch w := wide.(type) {
	case anyMatcher:
		return slices.ContainsFunc(w, func(part Matcher) bool { return covers(part, narrow) })
	case allMatcher:
		return !slices.ContainsFunc(w, func(part Matcher) bool { return !covers(part, narrow) })
	case *pathMatcher:
		n, ok := narrow.(*pathMatcher)
		return ok && eachIn(n.patterns, w.patterns, func(n, w pattern) bool { return w.covers(n) })
	case methodMatcher:
		n, ok := narrow.(methodMatcher)
		return ok && eachIn(n.methods, w.methods, func(n, w string) bool { return n == w || n == "HEAD" && w == "GET" })
	case hostMatcher:
		n, ok := narrow.(hostMatcher)
		return ok && eachIn(n.hosts, w.hosts, func(n, w string) bool {
			return n == w || strings.HasPrefix(w, "*") && strings.HasSuffix(n, w[1:])
		})
	case headerMatcher:
		n, ok := narrow.(headerMatcher)
		return ok && n.name == w.name && valuesCover(w.values, n.values)
	case cookieMatcher:
		n, ok := narrow.(cookieMatcher)
		return ok && n.name == w.name && valuesCover(w.values, n.values)
	}
	return false
}

// covers reports whether p matches all that n matches.
func (p pattern) covers(n pattern) bool {
	if p.rest && strings.HasPrefix(n.prefix, p.prefix) {
		return true
	}
	return n.literal && p.match(n.text) || p.text == n.text
}

// valuesCover: no values at all means any value.
func valuesCover(wide, narrow []string) bool {
	if len(wide) == 0 {
		return true
	}
	return len(narrow) > 0 && eachIn(narrow, wide, func(n, w string) bool { return n == w })
}

// eachIn reports whether every one of narrow is covered by one of wide.
func eachIn[T any](narrow, wide []T, covered func(n, w T) bool) bool {
	return !slices.ContainsFunc(narrow, func(n T) bool {
		return !slices.ContainsFunc(wide, func(w T) bool { return covered(n, w) })
	})
}
