package shop

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	cases := []struct {
		pattern, tags string
		all, bad      bool
	}{
		{pattern: "((^|,)cat_p_1(,|$))", tags: "cat_p_1"},
		{pattern: "((^|,)cat_p_1(,|$))|((^|,)cat_p_1_2(,|$))|((^|,)FPC(,|$))", tags: "cat_p_1 cat_p_1_2 FPC"},
		{pattern: "(^|,)(a|b)(,|$)", tags: "a b"},               // FOSHttpCache
		{pattern: `\bp-7\b`, tags: "p-7"},                       // Proxy Cache Purge
		{pattern: "p-7|pt-post|home", tags: "p-7 pt-post home"}, // the same
		{pattern: "cat_p_1,cat_c_2 cms_p_3", tags: "cat_p_1 cat_c_2 cms_p_3"},
		{pattern: `^a\.b$`, tags: "a.b"},
		{pattern: `(?:a|b)`, tags: "a b"},
		{pattern: ".*", all: true},
		{pattern: "(.*)", all: true},
		{pattern: "a|.*", tags: "a", all: true},
		{pattern: "", bad: true},
		{pattern: "()", bad: true},
		{pattern: "a|", bad: true},
		{pattern: "((^|,)(,|$))", bad: true},
		{pattern: "*", bad: true},
		{pattern: "cat_p_.*", bad: true},
		{pattern: "cat_p_[0-9]", bad: true},
		{pattern: "cat_p_1?", bad: true},
		{pattern: `cat_p_\d`, bad: true},
		{pattern: "(a", bad: true},
		{pattern: "a)", bad: true},
		{pattern: "(a)(b)", bad: true},
		{pattern: "(?i)a", bad: true},
		{pattern: `a\`, bad: true},
		{pattern: strings.Repeat("(", 9) + "a" + strings.Repeat(")", 9), bad: true},
	}
	for _, c := range cases {
		tags, all, err := parse(c.pattern, maxNested)
		if (err != nil) != c.bad || err == nil && (strings.Join(tags, " ") != c.tags || all != c.all) {
			t.Errorf("%q: %q, all %t, %v", c.pattern, tags, all, err)
		}
	}
}

// FuzzPattern: whatever is understood means no less than the regular expression that
// it is, in a list of tags.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"((^|,)cat_p_1(,|$))|((^|,)b(,|$))", "(^|,)(a|b)(,|$)", `\ba\b`, "a|b", ".*", `a\.b`, "(?:a)", "^a$", ","} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, pattern, tag string) {
		if len(pattern) > 200 || tag == "" || strings.ContainsAny(tag, ", \t\\.\n") {
			return
		}
		tags, all, err := parse(pattern, maxNested)
		if err != nil || strings.ContainsAny(pattern, ", \t.") && !strings.Contains(pattern, "(^|,)") {
			return // a list, which is none to a regular expression
		}
		expression, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return
		}
		if expression.MatchString(tag) && !all && !slices.Contains(tags, tag) {
			t.Errorf("%q matches %q and is read as %q", pattern, tag, tags)
		}
	})
}
