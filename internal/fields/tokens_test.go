package fields

import (
	"slices"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	for c := range 256 {
		s := "a" + string([]byte{byte(c)})
		// RFC 9110, section 5.6.2: visible ASCII without the delimiters.
		if want := c > ' ' && c < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c)); Token(s) != want {
			t.Errorf("%q is a token: %t", s, !want)
		}
		if want := c >= ' ' && c != 0x7f || c == '\t'; Value(s) != want {
			t.Errorf("%q is a value: %t", s, !want)
		}
		// RFC 3986: unreserved, sub-delims, escapes, and what parts host and port.
		if want := c < 0x80 && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c > 0 && strings.ContainsRune("-._~!$&'()*+,;=%:[]", rune(c))); HostBytes(s) != want {
			t.Errorf("%q has the bytes of a host: %t", s, !want)
		}
	}
	if Token("") || !Value("") || !HostBytes("") {
		t.Error("empty")
	}
}

func TestMembers(t *testing.T) {
	cases := []struct {
		lines []string
		want  string // joined by |
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"a"}, "a"},
		{[]string{" , a b\t,,\tc ,"}, "a b|c"},
		{[]string{"a,", ",b"}, "a|b"},
		{[]string{"a,b", " ", "c"}, "a|b|c"},
		{[]string{`"a, b"`}, `"a|b"`},
	}
	for _, c := range cases {
		if got := strings.Join(List(c.lines), "|"); got != c.want {
			t.Errorf("%q: %s, want %s", c.lines, got, c.want)
		}
		back := slices.Collect(Backward(c.lines))
		if slices.Reverse(back); strings.Join(back, "|") != c.want {
			t.Errorf("%q from behind: %q, want %s", c.lines, back, c.want)
		}
	}
	if lines := []string{"close, keep-alive"}; testing.AllocsPerRun(10, func() { HasToken(lines, "upgrade") }) != 0 {
		t.Error("to look for a token allocates")
	}
}

func TestHasToken(t *testing.T) {
	cases := []struct {
		line string
		want bool
	}{
		{"upgrade", true}, {"keep-alive, Upgrade", true}, {"\tUPGRADE ,close", true},
		{"upgrades", false}, {"up grade", false}, {"upgrade close", false}, {"", false},
	}
	for _, c := range cases {
		if got := HasToken([]string{"te", c.line}, "upgrade"); got != c.want {
			t.Errorf("%q: %t", c.line, got)
		}
	}
	if EqualFold("\u212aeep-alive", "keep-alive") || HasToken([]string{"clo\u017fe"}, "close") {
		t.Error("a letter beyond ASCII passes for one of a token")
	}
}

// TestCutMember: a comma parts members unless it is quoted, or in a comment where
// there are comments. What is not closed swallows the rest.
func TestCutMember(t *testing.T) {
	cases := []struct{ list, quoted, commented string }{
		{"", "", ""},
		{"a, b", "a", "a"},
		{`a="x,y", b`, `a="x,y"`, `a="x,y"`},
		{`a="x\",y", b`, `a="x\",y"`, `a="x\",y"`},
		{`a="x,y`, `a="x,y`, `a="x,y`},
		{"1.1 a (b, (c), d), e", "1.1 a (b", "1.1 a (b, (c), d)"},
		{`1.1 a (b\), ", c), d`, `1.1 a (b\)`, `1.1 a (b\), ", c)`},
		{"max-age=1), b", "max-age=1)", "max-age=1)"},
		{"(a, b", "(a", "(a, b"},
	}
	for _, c := range cases {
		if got, _ := CutMember(c.list); got != c.quoted {
			t.Errorf("%s: %s, want %s", c.list, got, c.quoted)
		}
		if got, _ := CutCommented(c.list); got != c.commented {
			t.Errorf("%s with comments: %s, want %s", c.list, got, c.commented)
		}
		for _, cut := range []func(string) (string, string){CutMember, CutCommented} {
			if member, rest := cut(c.list); rest != "" && member+","+rest != c.list {
				t.Errorf("%s: %s and %s", c.list, member, rest)
			}
		}
	}
}
