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

func TestParts(t *testing.T) {
	const whole = "0123456789"
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"a"`}}, answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	}}
	_, h := open(t, Options{}, b)
	part := func(spec, body, contentRange string, calls int) {
		t.Helper()
		w := get(h, "http://a.example/film", "Range", spec)
		want(t, w, 206, body)
		if got := w.Header().Get("Content-Range"); got != contentRange || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: %v", spec, w.Header())
		}
		if n := int(b.calls.Load()); n != calls {
			t.Errorf("%s: %d calls, want %d", spec, n, calls)
		}
	}
	part("bytes=2-6", "23456", "bytes 2-6/10", 1)
	part("bytes=2-6", "23456", "bytes 2-6/10", 1)
	part("bytes=3-4", "34", "bytes 3-4/10", 1)
	part("bytes=5-7", "567", "bytes 5-7/10", 2)
	part("bytes=-3", "789", "bytes 7-9/10", 3)
	part("bytes=8-", "89", "bytes 8-9/10", 3)
	want(t, do(h, httptest.NewRequest("HEAD", "http://a.example/film", nil)), 200, "")
	want(t, get(h, "http://a.example/film", "Range", "bytes=2-6", "If-Range", `"b"`), 200, whole)
	part("bytes=0-", whole, "bytes 0-9/10", 6) // that is the whole, and is stored as such
	want(t, get(h, "http://a.example/film"), 200, whole)
	part("bytes=1-1", "1", "bytes 1-1/10", 6)
}

func TestPartsThatAreNotStored(t *testing.T) {
	for name, c := range map[string]struct{ header, body string }{
		"no Content-Range":  {"", "234"},
		"unknown size":      {"bytes 2-4/*", "234"},
		"more than it says": {"bytes 2-4/10", "23456"},
		"nonsense":          {"bytes 4-2/10", "234"},
		"several":           {"bytes 2-4/10, bytes 6-7/10", "234"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
				if c.header != "" {
					w.Header().Set("Content-Range", c.header)
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(c.body)))
				w.WriteHeader(206)
				io.WriteString(w, c.body)
			}}
			cache, h := open(t, Options{}, b)
			for range 2 {
				want(t, get(h, "http://a.example/", "Range", "bytes=2-4"), 206, c.body)
			}
			if s := cache.store.Stats(); b.calls.Load() != 2 || s.Used != 0 {
				t.Errorf("%d calls, %+v", b.calls.Load(), s)
			}
		})
	}
}

// TestManyRangesAreTheWhole: thousands of parts of a byte cost a part each.
func TestManyRangesAreTheWhole(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		io.WriteString(w, strings.Repeat("0123456789", 1000))
	}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	for value, status := range map[string]int{
		"bytes=0-0": 206, "bytes=0-0,2-2": 206, "bytes=" + strings.Repeat("0-0,", 15) + "0-0": 206,
		"bytes=" + strings.Repeat("0-0,", 16) + "0-0": 200, "bytes=" + strings.Repeat("0-0,", 7000) + "0-0": 200, "bytes=" + strings.Repeat(",", 7000) + "0-0": 200,
		"bytes=20000-": 416,
	} {
		w := get(h, "http://a.example/", "Range", value)
		if w.Code != status || status == 200 && (w.Body.Len() != 10000 || w.Header().Get("Content-Length") != "10000") {
			t.Errorf("%.20s...: got %d, %d bytes", value, w.Code, w.Body.Len())
		}
	}
}

// Souin 667: a part is stored as the whole. Tempesta 416: what HEAD brings is
// stored for GET.
func TestAPartOrAHeadIsNotTheWhole(t *testing.T) {
	whole := "0123456789"
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	}}
	_, h := open(t, Options{}, b)
	want(t, get(h, "http://a.example/", "Range", "bytes=2-3"), 206, "23")
	do(h, httptest.NewRequest("HEAD", "http://a.example/", nil))
	want(t, get(h, "http://a.example/"), 200, whole)
	n := b.calls.Load()
	want(t, get(h, "http://a.example/", "Range", "bytes=2-3"), 206, "23")
	want(t, get(h, "http://a.example/", "Range", "bytes=-1"), 206, "9")
	want(t, get(h, "http://a.example/", "Range", "bytes=20-"), 416, "invalid range: failed to overlap\n")
	if w := do(h, httptest.NewRequest("HEAD", "http://a.example/", nil)); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD of what is stored: %d %q %v", w.Code, w.Body, w.Header())
	}
	if b.calls.Load() != n {
		t.Error("the backend was asked for what is stored")
	}
}
