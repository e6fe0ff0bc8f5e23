package shop

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/foretier/foretier/cache"
)

// errPattern says what a pattern of tags may be.
var errPattern = errors.New("want tags, alternatives of tags such as ((^|,)cat_p_1(,|$))|((^|,)cat_c_2(,|$)), or .*")

// maxNested is how deep the parentheses of a pattern may be nested.
const maxNested = 8

// patternOf returns what the lines of a field name that holds patterns of tags: the
// tags, each with a prefix, or all.
func patternOf(field, prefix string, lines []string) (cache.Invalidation, error) {
	var inv cache.Invalidation
	for _, line := range lines {
		tags, all, err := parse(strings.TrimSpace(line), maxNested)
		if err != nil {
			return inv, fmt.Errorf("%s is not understood here: %w", field, err)
		}
		inv.All = inv.All || all
		for _, tag := range tags {
			inv.Tags = append(inv.Tags, prefix+tag)
		}
	}
	if inv.All {
		inv.Tags = nil
	}
	return inv, nil
}

// parse reads the regular expressions by which shops name tags within a field that
// holds a list of them, and finds the tags again. Whatever else a regular expression
// may say is an error.
func parse(pattern string, nested int) (tags []string, all bool, err error) {
	if nested == 0 {
		return nil, false, errPattern
	}
	for _, one := range alternatives(pattern) {
		one = withoutAnchors(one)
		var more []string
		var everything bool
		if inner, ok := group(one); one == ".*" {
			everything = true
		} else if ok {
			more, everything, err = parse(inner, nested-1)
		} else {
			more, err = literals(one)
		}
		if err != nil {
			return nil, false, err
		}
		tags, all = append(tags, more...), all || everything
	}
	return tags, all, nil
}

// alternatives cuts a pattern at each | outside of parentheses.
func alternatives(pattern string) (out []string) {
	depth, begin := 0, 0
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				out, begin = append(out, pattern[begin:i]), i+1
			}
		}
	}
	return append(out, pattern[begin:])
}

// What stands before and behind a tag in a list.
var (
	beginnings = []string{"(^|,)", "(,|^)", "(?:^|,)", "^", `\b`}
	ends       = []string{"(,|$)", "($|,)", "(?:,|$)", "$", `\b`}
)

func withoutAnchors(one string) string {
	for _, a := range beginnings {
		one = strings.TrimPrefix(one, a)
	}
	for _, a := range ends {
		one = strings.TrimSuffix(one, a)
	}
	return one
}

// group returns what a pair of parentheses holds that is all there is.
func group(one string) (inner string, ok bool) {
	if !strings.HasPrefix(one, "(") {
		return "", false
	}
	depth := 0
	for i := 0; i < len(one); i++ {
		switch one[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				inner, ok = strings.CutSuffix(one, ")")
				return strings.TrimPrefix(inner[1:], "?:"), ok && i == len(one)-1
			}
		}
	}
	return "", false
}

// literals returns the tags of a list, in which a byte may be escaped. A dot is one:
// no shop means any byte by it.
func literals(list string) ([]string, error) {
	var b strings.Builder
	for i := 0; i < len(list); i++ {
		c := list[i]
		switch {
		case c == '\\' && i+1 < len(list) && !isLetter(list[i+1]):
			i++
			c = list[i]
		case strings.IndexByte(`()[]{}|*+?^$\`, c) >= 0:
			return nil, errPattern
		}
		b.WriteByte(c)
	}
	tags := strings.FieldsFunc(b.String(), func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	if len(tags) == 0 {
		return nil, errPattern
	}
	return slices.Clip(tags), nil
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
