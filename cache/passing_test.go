package cache

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// TestWhatPassesSaysSoEachTime: what is said of a request that passes is made once, and
// is still that of its own status, cache and reason.
func TestWhatPassesSaysSoEachTime(t *testing.T) {
	b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		if above := r.URL.Query().Get("above"); above != "" {
			w.Header().Set("Cache-Status", above)
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(status)
	}}
	rules := Rules{Plan: func(r *http.Request) Plan { return Plan{Pass: true, Why: `of "` + r.URL.Path + `"`} }}
	c, h := open(t, Options{Rules: rules}, b)
	ask := func(url string, want ...string) {
		t.Helper()
		got := get(h, "http://a.example"+url).Header()["Cache-Status"]
		if len(got) != len(want) {
			t.Fatalf("%s: %q, want %q", url, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", url, got, want)
			}
		}
	}
	const a = `Foretier; fwd=bypass; fwd-status=200; detail="of \"/a\""`
	for range 3 {
		ask("/a?status=200", a)
		ask("/a?status=404", `Foretier; fwd=bypass; fwd-status=404; detail="of \"/a\""`)
		ask("/b?status=200", `Foretier; fwd=bypass; fwd-status=200; detail="of \"/b\""`)
		ask("/a?status=200&above=Far%3b+hit", "Far; hit", a)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "http://a.example/a?status=200", nil))
	if got := w.Header().Get("Cache-Status"); got != `Foretier; fwd=bypass; fwd-status=200; detail="method"` {
		t.Errorf("POST: %q", got)
	}
	for i := range 2 * maxReasons { // more than are remembered
		ask("/"+strconv.Itoa(i)+"?status=200", `Foretier; fwd=bypass; fwd-status=200; detail="of \"/`+strconv.Itoa(i)+`\""`)
	}
	if n := len(*c.passings.known.Load()); n > maxReasons {
		t.Errorf("%d reasons are remembered", n)
	}
}
