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
		"wrong credentials":       {"GET", "Authorization", "Basic bW9vbg=="},
		"no credentials":          {"GET", "X-Bot", "401"},
		"a cookie out of shape":   {"GET", "Cookie", "sid=<moon>"},
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
				case h.Get("Authorization") != "":
					status = 401
				case h.Get("Cookie") != "":
					status = 404
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
	_, h := open(t, Options{Rules: Rules{Retention: func(_ *http.Request, _ Head, v Retention) Retention {
		v.Store = true
		return v
	}}}, b)
	for _, value := range []string{"bytes=50-", "bytes=-0", "bytes=2-3"} {
		get(h, "http://a.example/", "Range", value)
	}
	want(t, get(h, "http://a.example/"), 200, "0123456789")
}

// TestFetchHasTheKeysHost: an application that redirects to its canonical host
// would put a redirect to the page itself into the page's place.
func TestFetchHasTheKeysHost(t *testing.T) {
	for _, host := range []string{"shop.example:80", "SHOP.example", "Shop.Example:80", "shop.example"} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			b := &backend{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Content-Location", "/")
				if r.Host != "shop.example" {
					http.Redirect(w, r, "http://shop.example/", http.StatusMovedPermanently)
					return
				}
				io.WriteString(w, r.Host+" "+r.URL.Host)
			}}
			_, h := open(t, Options{}, b)
			r := httptest.NewRequest(method, "http://"+host+"/", nil)
			do(h, r)
			want(t, get(h, "http://shop.example/"), 200, "shop.example shop.example")
		}
	}
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) { io.WriteString(w, r.Host) }}
	_, h := open(t, Options{}, b)
	want(t, get(h, "https://Shop.example:443/"), 200, "shop.example")
	want(t, get(h, "https://Shop.example:80/"), 200, "shop.example:80") // the other scheme's port is a port
	want(t, get(h, "https://Shop.example:8443/"), 200, "shop.example:8443")
}

// TestPostFillsNothingThatIsNotInTheKey: the page that a POST brings may show
// what only that one sent.
func TestPostFillsNothingThatIsNotInTheKey(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"an ignored cookie":   func(r *http.Request) { r.Header.Set("Cookie", "_ga=<script>") },
		"a dropped parameter": func(r *http.Request) { r.URL.RawQuery = "utm_source=<script>" },
	} {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}}, answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Content-Location", r.URL.RequestURI())
			io.WriteString(w, r.URL.RawQuery+r.Header.Get("Cookie"))
		}}
		_, h := open(t, Options{IgnoreCookies: []string{"_ga"}, Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
		r := httptest.NewRequest("POST", "http://a.example/", nil)
		change(r)
		do(h, r)
		if w := get(h, "http://a.example/"); w.Body.Len() != 0 {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}
