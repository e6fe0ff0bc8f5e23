package target

import (
	"net/url"
	"strings"
	"testing"
)

// sent lists targets as clients send them, and what goes on: the same, or the
// same with the bytes escaped that no URI may hold.
var sent = map[string]string{
	"/":                      "/",
	"/a%2Fb":                 "/a%2Fb",
	"/a%2fb{c}":              "/a%2fb%7Bc%7D",
	"/a%2Fb\"<>^`|":          "/a%2Fb%22%3C%3E%5E%60%7C",
	"/%7E%41%2e/caf\xc3\xa9": "/%7E%41%2e/caf%C3%A9",
	"/caf\xe9%2F%c3%a9":      "/caf%E9%2F%c3%a9",
	"/it's(a)!*[b]":          "/it's(a)!*[b]",
	"/img/https://x.y/z":     "/img/https://x.y/z",
	"//a//%2F/..;x":          "//a//%2F/..;x",
	"/a?":                    "/a?",
	"/a??b":                  "/a??b",
	"/a?q=100%&page=2":       "/a?q=100%&page=2",
	"/a?a=1;b=2&c={d}&%zz":   "/a?a=1;b=2&c={d}&%zz",
	"/a{?b=%2f\"":            "/a%7B?b=%2f\"",
	"*":                      "*",
}

func TestTargetGoesOnAsSent(t *testing.T) {
	for line, want := range sent {
		u, err := url.ParseRequestURI(line)
		if line == "*" {
			u, err = &url.URL{Path: "*"}, nil
		}
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		to := Of(u)
		if got := to.String(); got != want || string(to.Append(nil)) != want {
			t.Errorf("%q goes on as %q, want %q", line, got, want)
		}
		// What is kept and set says so to those who ask net/url.
		set := new(url.URL)
		to.Set(set)
		for how, u := range map[string]*url.URL{"kept": Preserve(u), "set": set} {
			if got := u.RequestURI(); got != want {
				t.Errorf("%q, %s, goes on as %q, want %q", line, how, got, want)
			}
		}
	}
}

// A path that somebody has rewritten counts, and not what it was.
func TestStaleRawPath(t *testing.T) {
	u, err := url.ParseRequestURI("/a%2Fb{c}")
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/x y"
	if got := Of(u).String(); got != "/x%20y" {
		t.Errorf("got %q", got)
	}
	if Preserve(u) != u {
		t.Error("it was changed")
	}
}

func TestEscapes(t *testing.T) {
	for decoded, want := range map[string]string{"/a b/100%": "/a%20b/100%25", "/%41(x)": "/%2541(x)", "/é?#": "/%C3%A9%3F%23", "/a:b,c": "/a:b,c"} {
		if got := EscapeAll(decoded); got != want {
			t.Errorf("EscapeAll(%q): got %q, want %q", decoded, got, want)
		}
	}
	if got := Segment("a/b c"); got != "a%2Fb%20c" {
		t.Errorf("Segment: %q", got)
	}
	if got := (Target{"/a", "q=<é>&p=100%&%7E", true}).Location(); got != "/a?q=%3C%C3%A9%3E&p=100%&%7E" {
		t.Errorf("Location: %q", got)
	}
}

// What nearly every request asks for costs nothing.
func TestTargetAllocatesNothing(t *testing.T) {
	for _, line := range []string{"/product/blue-shoe?size=42", "/caf%c3%a9/(x)?a[]=1"} {
		u, err := url.ParseRequestURI(line)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, 100)
		if n := testing.AllocsPerRun(100, func() { Of(Preserve(u)).Append(buf) }); n != 0 {
			t.Errorf("%s: %g allocations", line, n)
		}
	}
}

// What is to be escaped is so once, by Keep: whoever asks later only looks.
func TestEscapedOnce(t *testing.T) {
	for _, c := range []string{"{", "\xe9", "é", "[a]", "%41{", "{/"} {
		line := "/" + strings.Repeat(c, 7000/len(c))
		u, err := url.ParseRequestURI(line)
		if err != nil {
			t.Fatal(err)
		}
		u = Preserve(u)
		buf := make([]byte, 0, 30000)
		if n := testing.AllocsPerRun(100, func() {
			Of(Preserve(u)).Append(buf)
			if !IsEscaped(line, Sent(u)) {
				t.Error("not the same")
			}
		}); n != 0 {
			t.Errorf("%s: %g allocations", c, n)
		}
	}
}

func TestIsEscaped(t *testing.T) {
	paths := []string{"", "/", "/{", "/%7b", "/%7B", "/%7", "/%", "/%25", "/%257", "/%zz", "/%25zz", "/é", "/%C3%A9", "/%c3%a9", "/[", "/%5B", "/a b", "/a%20b", "/a%20", "/a%2"}
	for _, path := range paths {
		for _, other := range paths {
			if got := IsEscaped(path, other); got != (Escape(path) == other) {
				t.Errorf("%q, %q: %t", path, other, got)
			}
		}
	}
}

// FuzzTarget: what goes on decodes to the path that came, and going on once
// more changes nothing.
func FuzzTarget(f *testing.F) {
	for line := range sent {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		u, err := url.ParseRequestURI(line)
		if err != nil || u.Opaque != "" || u.Path == "" || u.Path == "*" || u.Host != "" || u.Scheme != "" {
			return
		}
		to := Of(u)
		if !IsEscaped(Sent(u), to.Path) || (to.Path == Sent(u)) != IsEscaped(to.Path, Sent(u)) {
			t.Errorf("%q goes on as %q", line, to)
		}
		again, err := url.ParseRequestURI(to.String())
		if err != nil {
			t.Fatalf("%q goes on as %q: %v", line, to, err)
		}
		if again.Path != u.Path || Of(again) != to || again.EscapedPath() != to.Path {
			t.Errorf("%q goes on as %q and then as %q", line, to, Of(again))
		}
		// One form for all spellings.
		normal := Normal(to.String())
		if Normal(normal) != normal || Normal(again.String()) != normal {
			t.Errorf("%q has the forms %q and %q", line, normal, Normal(normal))
		}
	})
}
