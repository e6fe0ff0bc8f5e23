package fields

import (
	"net/http"
	"testing"
)

// TestCacheControl: an answer is taken out of all caches, whatever the name by
// which one is spoken to, and keeps all that speaks to somebody else.
func TestCacheControl(t *testing.T) {
	orders := []string{
		"Cache-Control", "cache-control", "CACHE-CONTROL", "Foretier-Cache-Control", "foretier-cache-control",
		"My.cache-Cache-Control", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Vercel-Cdn-Cache-Control",
		"Netlify-Cdn-Cache-Control", "X-Litespeed-Cache-Control", "X-Magento-Cache-Control", "Surrogate-Control",
		"surrogate-control", "Edge-Control", "X-Accel-Expires", "Expires", "Pragma",
	}
	others := []string{
		"Access-Control-Allow-Origin", "X-Dns-Prefetch-Control", "Cache-Tag", "Cache-Status", "Surrogate-Key",
		"X-Token-Expires", "X-Accel-Buffering", "Set-Cookie", "Vary", "Notcache-Control", "Cache-Control-Policy", "Age",
	}
	h := make(http.Header)
	for _, name := range append(orders, others...) {
		h[name] = []string{"public, max-age=60"}
	}
	CacheControl(h, "no-store")
	for _, name := range orders {
		if got := h[name]; got != nil && name != "Cache-Control" {
			t.Errorf("%s is left: %q", name, got)
		}
	}
	if got := h["Cache-Control"]; len(got) != 1 || got[0] != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
	for _, name := range others {
		if h[name] == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

// What is to be made of an answer is no matter of how long it is kept.
func TestCacheControlKeepsWhatIsToBeMadeOfAnAnswer(t *testing.T) {
	for line, want := range map[string]string{
		`content="ESI/1.0"`:                      `content="ESI/1.0"`,
		`max-age=60+30, Content = "ESI/1.0";a,x`: `Content = "ESI/1.0";a`,
		`max-age=60`:                             "",
		`no-store, contents="ESI/1.0"`:           "",
	} {
		h := http.Header{"Surrogate-Control": {line}}
		CacheControl(h, "no-store")
		if got := h.Get("Surrogate-Control"); got != want {
			t.Errorf("of %s %s is left, want %s", line, got, want)
		}
	}
}

func TestOwnToClient(t *testing.T) {
	cases := []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{"max-age=60"}, false},
		{[]string{"private"}, true},
		{[]string{"max-age=60, Private"}, true},
		{[]string{"max-age=60", "NO-STORE"}, true},
		{[]string{`private="set-cookie"`}, false},
		{[]string{"private=set-cookie"}, false},
		{[]string{`ext="a, private, b"`}, false},
		{[]string{"private, public"}, false},
		{[]string{"private", "s-maxage=60"}, false},
		{[]string{"no-store, must-understand, max-age=60"}, false},
	}
	for _, c := range cases {
		h := http.Header{"Cache-Control": c.lines, "Pragma": {"no-cache"}}
		if got := OwnToClient(h); got != c.want {
			t.Errorf("%q: %t", c.lines, got)
		}
		if got := MayBeShared(h); got == (c.want || c.lines == nil) {
			t.Errorf("%q: may be shared: %t", c.lines, got)
		}
		if h.Set("Foretier-Cache-Control", "max-age=1"); !MayBeShared(h) {
			t.Errorf("%q and a field for one cache: not shared", c.lines)
		}
	}
}
