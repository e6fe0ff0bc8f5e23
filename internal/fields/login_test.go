package fields

import "testing"

func TestWithoutLogin(t *testing.T) {
	for s, want := range map[string]string{
		"":                     "",
		"/a@b":                 "/a@b",
		"http://a/":            "http://a/",
		"http://u:p@a/":        "http://...@a/",
		"redis://:p@a:6379":    "redis://...@a:6379",
		"http://u:p@q@a?x=y@z": "http://...@a?x=y@z",
		"http://a/b@c":         "http://a/b@c",
		"http://a?b@c":         "http://a?b@c",
		"bot (me@a.example)":   "bot (me@a.example)",
		"/to?next=http://a/":   "/to?next=http://a/",
		"http://u:p@":          "http://...@",
	} {
		if got := WithoutLogin(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
