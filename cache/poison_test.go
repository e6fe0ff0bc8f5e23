package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestOneRequestsFieldsPoisonNobody: an answer that depends on a field which is
// neither in the key nor in Vary is the asker's alone.
func TestOneRequestsFieldsPoisonNobody(t *testing.T) {
	const body = "the whole"
	cases := map[string]struct{ method, name, value string }{
		"a range beyond the end":  {"GET", "Range", "bytes=5000-"},
		"a range of another unit": {"GET", "Range", "pages=1-2"},
		"many ranges":             {"GET", "Range", "bytes=0-0,5000-"},
		"an old name of Range":    {"GET", "Request-Range", "bytes=5000-"},
		"a broken range":          {"GET", "Range", "bytes=x"},
		"If-Range":                {"GET", "If-Range", `"b"`},
		"If-Match":                {"GET", "If-Match", `"b"`},
		"If-Unmodified-Since":     {"GET", "If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"},
		"If-None-Match":           {"GET", "If-None-Match", "*"},
		"If-Modified-Since":       {"GET", "If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT"},
		"WebDAV's If":             {"GET", "If", `(["b"])`},
		"CalDAV's condition":      {"GET", "If-Schedule-Tag-Match", `"b"`},
		"a condition yet unknown": {"GET", "If-Moon", "full"},
		"Expect":                  {"GET", "Expect", "moon"},
		"A-IM":                    {"GET", "A-Im", "vcdiff"},
		"POST with a range":       {"POST", "Range", "bytes=5000-"},
		"POST with a condition":   {"POST", "If-Match", `"b"`},
		"a rate limit":            {"GET", "X-Bot", "429"},
		"a field too large":       {"GET", "X-Bot", "431"},
		"not acceptable":          {"GET", "Accept", "image/moon"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
				w.Header().Set("Cache-Control", "public, max-age=3600")
				w.Header().Set("Content-Location", "/file")
				status := 200
				switch h := r.Header; {
				case h.Get("X-Bot") != "":
					fmt.Sscan(h.Get("X-Bot"), &status)
				case h.Get("Range") != "" && h.Get("Range") != "bytes=0-0", h.Get("Request-Range") != "":
					status = 416
				case h.Get("Expect") != "":
					status = 417
				case h.Get("A-Im") != "":
					status = 226
				case h.Get("Accept") != "":
					status = 406
				default:
					for name := range h {
						if strings.HasPrefix(name, "If") {
							status = 412
						}
					}
				}
				w.WriteHeader(status)
				if status == 200 {
					io.WriteString(w, body)
				}
			}}
			_, h := open(t, Options{}, b)
			r := httptest.NewRequest(c.method, "http://a.example/file", nil)
			r.Header.Set(c.name, c.value)
			do(h, r)
			want(t, get(h, "http://a.example/file"), 200, body)
			before := b.calls.Load()
			if get(h, "http://a.example/file"); b.calls.Load() != before {
				t.Error("the whole is not stored")
			}
		})
	}
}

// TestARuleStoresNoRefusedRange: not even a rule that keeps whatever comes
// makes a range's answer that of the whole.
func TestARuleStoresNoRefusedRange(t *testing.T) {
	b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}}
	_, h := open(t, Options{Rules: Rules{Verdict: func(_ *http.Request, _ Head, v Verdict) Verdict {
		v.Store = true
		return v
	}}}, b)
	for _, value := range []string{"bytes=50-", "bytes=-0", "bytes=2-3"} {
		get(h, "http://a.example/", "Range", value)
	}
	want(t, get(h, "http://a.example/"), 200, "0123456789")
}
