package cache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Hundreds of cookies of one name that is in the key are put together once, not
// copied for each.
func TestManyCookiesOfOneName(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Cookie": {strings.Repeat("currency=EUR; lang=de; ", 500)}}
	var got []string
	if n := testing.AllocsPerRun(10, func() { got = cookiePairs(r, []string{"currency", "lang"}) }); n > 50 {
		t.Errorf("%g allocations", n)
	}
	if got[0] != strings.Repeat("currency=EUR;", 500) || got[1] != strings.Repeat("lang=de;", 500) {
		t.Errorf("got %q", got)
	}
}
