package target

import (
	"slices"
	"strings"
	"testing"
)

func TestReadings(t *testing.T) {
	cases := map[string]struct {
		canonical string
		others    []string
	}{
		"/a/b.css":        {"/a/b.css", nil},
		"/":               {"/", nil},
		"/a//b":           {"/a/b", []string{"/a//b"}},
		"/a/./b/":         {"/a/b/", []string{"/a/./b/"}},
		"/a/..":           {"/", []string{"/a/.."}},
		"/a%2Fb":          {"/a/b", []string{"/a%2Fb"}},
		"/a;x/b":          {"/a/b", []string{"/a;x/b"}},
		"//h/a":           {"/h/a", []string{"//h/a", "/a"}},
		"/%2561":          {"/a", []string{"/%2561", "/%61"}},
		"/100%25-x":       {"/100%-x", []string{"/100%25-x"}},
		"/.well-known/a":  {"/.well-known/a", nil},
		"/t%C3%BCr":       {"/tür", []string{"/t%C3%BCr"}},
		"/a..b/...":       {"/a..b/...", nil},
		"/x;a=1/../b;c=2": {"/b", []string{"/x;a=1/../b;c=2", "/b;c=2", "/x/../b"}},
	}
	for raw, c := range cases {
		rd := Read(raw)
		if rd.Refusal != "" || rd.Canonical != c.canonical {
			t.Errorf("%s: got %q, refusal %q, want %q", raw, rd.Canonical, rd.Refusal, c.canonical)
		}
		if !slices.Equal(rd.Others, c.others) {
			t.Errorf("%s: others: got %q, want %q", raw, rd.Others, c.others)
		}
	}
}

func TestRefusals(t *testing.T) {
	for raw, want := range map[string]string{
		"":               "does not begin with a slash",
		"admin":          "does not begin with a slash",
		"/..":            "leads above the root",
		"/a/%2e%2e/../b": "leads above the root",
		"//h/../b":       "leads above the root", // as //authority
		"/a\x00":         "holds a control byte",
		"/a%7F":          "holds a control byte",
		"/a\\b":          "holds a backslash",
		"/a%25255c":      "holds a backslash",
		"/a#b":           "holds a fragment",
		"/%C0%AF":        "holds overlong UTF-8",
		"/%c0.":          "holds overlong UTF-8",
		"/%zz":           "holds a broken percent-escape",
		"/%":             "holds a broken percent-escape",
		"/%25252525":     "is percent-encoded too often",
	} {
		if got := Read(raw).Refusal; got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

// TestReadingsAreBounded: of a long path not everything is read that a short one may
// be, since rules look at each reading.
func TestReadingsAreBounded(t *testing.T) {
	path := func(length int) string {
		const head, tail = "//h/", ";%252561"
		return head + strings.Repeat("/x/y.", (length-len(head)-len(tail))/5) + tail
	}
	if got, want := Read(path(8000)).Refusal, "can be read in too many ways for its length"; got != want {
		t.Errorf("8,000 bytes: %q, want %q", got, want)
	}
	for length := 20; length <= 2000; length += 20 {
		if got := Read(path(length)); got.Refusal != "" {
			t.Fatalf("%d bytes: %q", length, got.Refusal)
		}
	}
	if got := Read("/img/https://cdn.example/" + strings.Repeat("%2541", 1590)); got.Refusal != "" {
		t.Errorf("8,000 bytes of escapes of escapes: %q", got.Refusal)
	}
}

// TestResolvedAboveIsResolved: what is known of the path behind an authority spares a
// pass, and changes nothing.
func TestResolvedAboveIsResolved(t *testing.T) {
	for _, authority := range []string{"", ".", "..", "h", "h:80", "...", ".h"} {
		for _, path := range []string{"", "/", "//", "/.", "/..", "/a", "/a/", "/a/..", "/./a/./", "//a//b", "/a/../..", "/a;x/../b"} {
			s := "//" + authority + path
			behind, _ := cutAuthority(s)
			below, ok := Resolve(behind)
			if !ok {
				continue // refused for that already
			}
			got, gotOK := resolveAbove(s, behind, below)
			if want, wantOK := Resolve(s); got != want || gotOK != wantOK {
				t.Errorf("%q: got %q, %t, want %q, %t", s, got, gotOK, want, wantOK)
			}
		}
	}
}

// What is resolved costs no copy, and is what resolving it makes.
func TestResolvedPathsAreLeftAsTheyAre(t *testing.T) {
	for path, resolved := range map[string]bool{
		"/": true, "/a": true, "/a/": true, "/a/b": true, "/.a": true, "/a./..b": true, "/...": true, "/a%2e": true,
		"": false, "a": false, "//": false, "//a": false, "/a//": false, "/.": false, "/..": false, "/a/.": false, "/a/./b": false, "/a/../b": false,
	} {
		if got := isResolved(path); got != resolved {
			t.Errorf("%q: resolved: %v", path, got)
		}
		if got, ok := Resolve(path); resolved && (got != path || !ok) || !resolved && got == path {
			t.Errorf("%q becomes %q, %v", path, got, ok)
		}
	}
	long := "/" + strings.Repeat("a b/", 1000)
	if n := testing.AllocsPerRun(10, func() { Resolve(long) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkRead is of paths that are as long as may be, and read in several ways.
func BenchmarkRead(b *testing.B) {
	fill := func(s string) string { return "/" + strings.Repeat(s, 7990/len(s)) }
	for _, path := range []string{fill("a"), fill("%41"), fill("%2541"), fill("/"), fill("/;"), fill(";/"), fill("/a/.."), fill("%2f"),
		"//h/" + strings.Repeat("a", 3000) + strings.Repeat("/x/..", 980) + ";%252561"} {
		b.Run(path[:12], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Read(path)
			}
		})
	}
}
