package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestFieldsBeyondTheLimit: thousands of fields and cookies are nobody's.
func TestFieldsBeyondTheLimit(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fill func(http.Header)
		ok   bool
	}{
		"256 fields":         {func(h http.Header) { addFields(h, 256) }, true},
		"257 fields":         {func(h http.Header) { addFields(h, 257) }, false},
		"257 lines":          {func(h http.Header) { h["X"] = make([]string, 257) }, false},
		"512 cookies":        {func(h http.Header) { h["Cookie"] = []string{strings.Repeat("a=1;", 511) + "a=1"} }, true},
		"513 cookies":        {func(h http.Header) { h["Cookie"] = []string{strings.Repeat("a=1;", 512) + "a=1"} }, false},
		"cookies one by one": {func(h http.Header) { h["Cookie"] = slices.Repeat([]string{"a=1"}, 500) }, true},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		c.fill(r.Header)
		no := vet(r, &o.Limits)
		if (no == nil) != c.ok || no != nil && no.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %+v", name, no)
		}
	}
}

func addFields(h http.Header, n int) {
	for i := range n {
		h["X-"+strconv.Itoa(i)] = []string{"a"}
	}
}

// TestAChainIsShortened: of a long X-Forwarded-For the latest entries go on.
func TestAChainIsShortened(t *testing.T) {
	entry := func(i int) string { return "10.0.0." + strconv.Itoa(i) }
	var all []string
	for i := range 100 {
		all = append(all, entry(i))
	}
	want := strings.Join(all[100-maxChain:], ",")
	for name, lines := range map[string][]string{
		"one line":  {strings.Join(all, ",")},
		"two lines": {strings.Join(all[:60], ","), strings.Join(all[60:], ",")},
		"lines":     all,
	} {
		if got := strings.Join(shorten(lines), ","); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := shorten(all[:3]); len(got) != 3 {
		t.Errorf("a short one: %v", got)
	}
	stranger := netip.MustParseAddr("192.0.2.1")
	if got := client(stranger, all, nil); got != stranger {
		t.Errorf("a stranger's counts: %v", got)
	}
}
