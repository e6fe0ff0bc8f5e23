package law

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/target"
)

func TestReadSearch(t *testing.T) {
	for text, want := range map[string]string{
		`params`:                                       "only []",
		`params=?1`:                                    "only []",
		`params=("a")`:                                 "but [a]",
		`params=("b" "a" "a")`:                         "but [a b]",
		`params=("%C3%A9+%E6%B0%97" "%zz%2b")`:         "but [%zz+ é 気]",
		`params=("a";x=1);y=2, key-order;z`:            "but [a] in any order",
		`params, except=("x")`:                         "only [x]",
		`params, except=()`:                            "only []",
		`params, key-order, except=("x")`:              "only [x] in any order",
		`key-order`:                                    "but [] in any order",
		`key-order=?1, future=("x")`:                   "but [] in any order",
		`params=?0, key-order`:                         "but [] in any order",
		`params=("a"), params`:                         "only []",
		`params=("` + strings.Repeat("a", 1000) + `")`: "but [" + strings.Repeat("a", 1000) + "]",

		``:                           "",
		`unknown-key`:                "",
		`params=?0`:                  "",
		`params=()`:                  "",
		`key-order=?0`:               "",
		`key-order="yes"`:            "",
		`key-order=("a")`:            "",
		`params="a"`:                 "",
		`params=1`:                   "",
		`params=(a)`:                 "",
		`params=("a" 1)`:             "",
		`params=("%ff")`:             "",
		`params=("a"), except=("x")`: "",
		`params=(), except=()`:       "",
		`params=?0, except=("x")`:    "",
		`params, except=(x)`:         "",
		`params, except="x"`:         "",
		`params, except`:             "",
		`except=("x")`:               "",
		`except=()`:                  "",
		`params=("a"`:                "",
		`params=("é")`:               "",
		`Params`:                     "",
		`params=("` + strings.Repeat("a", 1020) + `")`: "",
	} {
		got := ""
		if s := ReadSearch(text); s != nil {
			got = "but"
			if s.only {
				got = "only"
			}
			got = fmt.Sprint(got, " ", s.names)
			if s.order {
				got += " in any order"
			}
			if s.Text != text {
				t.Errorf("%s: Text: %s", text, s.Text)
			}
		}
		if got != want {
			t.Errorf("%.60s: got %q, want %q", text, got, want)
		}
	}
}

func TestNormal(t *testing.T) {
	for _, c := range [][3]string{
		{`params=("utm")`, "a=1&utm=2&b", "a=1&b"},
		{`params=("utm")`, "utm=2", ""},
		{`params=("utm")`, "utm&%75tm=1&utm2=3&xutm", "utm2=3&xutm"},
		{`params=("utm")`, "b=1&a=2", "b=1&a=2"},
		{`params=("utm")`, "&&a=1&&b&", "a=1&b"},
		{`params=("utm")`, "a=%31&utm", "a=%31"},
		{`params=("utm")`, "UTM=1", "UTM=1"},
		{`params=("utm")`, "%ff=1&utm=2", "%ff=1&utm=2"}, // by U+FFFD, which it is not
		{`params=("a b")`, "a+b=1&a%20b=2&a%2bb=3", "a%2bb=3"},
		{`params=("")`, "=1&a", "a"},
		{`params`, "a=1&b=2", ""},
		{`params, except=("id")`, "x=1&id=2&id=1&y", "id=2&id=1"},
		{`params, except=("id[]")`, "id%5B%5D=2&id[]=1&y", "id%5B%5D=2&id[]=1"},
		{`key-order`, "b=1&a=2&b=0&a", "a=2&a&b=1&b=0"},
		{`key-order`, "b=1&%61=2", "%61=2&b=1"},
		{`key-order, params, except=("b" "a")`, "b=1&c&a=2", "a=2&b=1"},
		{``, "&&b&a", "&&b&a"},
	} {
		if got := ReadSearch(c[0]).Normal(c[1]); got != c[2] {
			t.Errorf("%s: of %s: got %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// same says what section 5 of the draft does, step by step.
func same(s *Search, a, b string) bool {
	if s == nil {
		return a == b
	}
	parse := func(query string) (list [][2]string) {
		for name, value := range target.Parameters(query) {
			pair := [2]string{decodeUTF8(name), decodeUTF8(value)}
			if slices.Contains(s.names, pair[0]) == s.only {
				list = append(list, pair)
			}
		}
		if s.order {
			slices.SortStableFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		}
		return list
	}
	return slices.Equal(parse(a), parse(b))
}

// decodeUTF8 has each byte that is no UTF-8 be U+FFFD.
func decodeUTF8(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// TestNormalIsNoWider than the draft: what is one to Normal is so to it. Where nothing
// is spelled in two ways, it is as wide.
func TestNormalIsNoWider(t *testing.T) {
	fields := []string{
		`params`, `params=("a")`, `params=("a" "")`, `params, except=("a")`, `params, except=("a" "é")`, `key-order`,
		`key-order, params=("a")`, `key-order, params, except=("a" "b")`, `key-order, params, except=("%EF%BF%BD")`, `params=("%EF%BF%BD")`,
	}
	plain := []string{"a=1", "a=2", "b=1", "b=2", "c=1", "d=1"}
	odd := append([]string{"", "a", "%61=1", "%61=%31", "=", "+=1", "%20=1", "%ff=1", "%fe=2", "%EF%BF%BD=1", "é=1", "%c3%a9=1", "%zz", "b=1=2", "%3d=1", "%26"}, plain...)
	rnd := rand.New(rand.NewPCG(1, 2))
	one := 0
	for i := range 200_000 {
		s := ReadSearch(fields[rnd.IntN(len(fields))])
		from := odd
		if i%2 == 0 {
			from = plain
		}
		query := func() string {
			list := make([]string, rnd.IntN(5))
			for i := range list {
				list[i] = from[rnd.IntN(len(from))]
			}
			return strings.Join(list, "&")
		}
		a, b := query(), query()
		na, nb := s.Normal(a), s.Normal(b)
		if na == nb {
			one++
		}
		if s.Normal(na) != na || !same(s, a, na) {
			t.Fatalf("%s: normal of %q is %q, and of that %q", s.Text, a, na, s.Normal(na))
		}
		if is := same(s, a, b); na == nb && !is || na != nb && is && i%2 == 0 {
			t.Fatalf("%s: %q and %q are one: %t, want %t", s.Text, a, b, na == nb, is)
		}
	}
	if one < 1000 {
		t.Errorf("%d pairs were one", one)
	}
}

// Thousands of parameters and names are gone through once.
func TestManySearchNames(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf(`"n%d"`, i))
	}
	s := ReadSearch(`key-order, params=(` + strings.Join(names, " ") + `)`)
	if s == nil || len(s.names) != 100 {
		t.Fatal(s)
	}
	query := strings.Repeat("n99&x=1&a&", 8000/10)
	if n := testing.AllocsPerRun(10, func() { s.Normal(query) }); n > 12 {
		t.Errorf("%g allocations", n)
	}
	if got := s.Normal(query); got != strings.Repeat("a&", 8000/10)+strings.TrimSuffix(strings.Repeat("x=1&", 8000/10), "&") {
		t.Errorf("got %.80s", got)
	}
}
