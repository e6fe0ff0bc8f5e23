package cache

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pieces is a backend that serves ranges of a body, and remembers what it was
// asked for.
type pieces struct {
	body, etag string
	control    string
	rest       func(w http.ResponseWriter, r *http.Request) bool // what it does with the rest; false: the usual

	mu    sync.Mutex
	asked []string
}

func (p *pieces) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
	p.mu.Unlock()
	h := w.Header()
	h.Set("Cache-Control", p.control)
	h.Set("Content-Type", "text/plain")
	if p.etag != "" {
		h.Set("Etag", p.etag)
	}
	if r.Header.Get("Range") == "bytes=4-" && p.rest != nil && p.rest(w, r) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(p.body))
}

func (p *pieces) want(t *testing.T, asked ...string) {
	t.Helper()
	if got := fmt.Sprintf("%q", p.asked); got != fmt.Sprintf("%q", asked) {
		t.Errorf("the backend was asked for %s, want %q", got, asked)
	}
}

func TestCompletesABeginning(t *testing.T) {
	const url, beginning, tag = "http://a.example/film", "bytes=0-3", `"v1"`
	cases := map[string]struct {
		p      *pieces // nil: nothing unusual
		before func(*testing.T, *Cache, *pieces)
		asked  []string // after the beginning, up to the whole
	}{
		"the rest": {asked: []string{`bytes=4- "v1"`}},
		"the film has changed": {
			before: func(_ *testing.T, _ *Cache, p *pieces) { p.body, p.etag = "abcdefghij", `"v2"` },
			asked:  []string{`bytes=4- "v1"`},
		},
		"it says nothing of If-Range": {
			p: &pieces{rest: func(w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("If-Range")
				return false
			}},
			before: func(_ *testing.T, _ *Cache, p *pieces) { p.body, p.etag = "abcdefghij", `"v2"` },
			asked:  []string{`bytes=4- "v1"`, " "},
		},
		"another rest": {
			p: &pieces{rest: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 5-9/10")
				w.WriteHeader(206)
				io.WriteString(w, "56789")
				return true
			}},
			asked: []string{`bytes=4- "v1"`, " "},
		},
		"a rest of another whole": {
			p: &pieces{rest: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 4-10/11")
				w.WriteHeader(206)
				io.WriteString(w, "456789a")
				return true
			}},
			asked: []string{`bytes=4- "v1"`, " "},
		},
		"a rest in another coding": { // by middleware that compresses whatever comes
			p: &pieces{rest: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 4-9/10")
				w.Header().Set("Content-Encoding", "gzip")
				w.WriteHeader(206)
				io.WriteString(w, "zipped")
				return true
			}},
			asked: []string{`bytes=4- "v1"`, " "},
		},
		"there is no rest": {
			p: &pieces{rest: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes */10")
				w.WriteHeader(416)
				return true
			}},
			asked: []string{`bytes=4- "v1"`, " "},
		},
		"a rest that is not to be stored": {
			p: &pieces{rest: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Cache-Control", "no-store")
				return false
			}},
			asked: []string{`bytes=4- "v1"`, " "},
		},
		"no strong validator": {p: &pieces{etag: `W/"v1"`}, asked: []string{" "}},
		"no validator":        {p: &pieces{etag: "none"}, asked: []string{" "}},
		"a purge": {
			before: func(t *testing.T, c *Cache, _ *pieces) {
				if _, err := c.Invalidate(t.Context(), Invalidation{URL: url}); err != nil {
					t.Error(err)
				}
			},
			asked: []string{" "},
		},
		"not fresh any more": {before: func(*testing.T, *Cache, *pieces) { time.Sleep(2 * time.Minute) }, asked: []string{" "}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := cmp.Or(c.p, new(pieces))
				p.body, p.control = "0123456789", "max-age=60"
				switch p.etag {
				case "":
					p.etag = tag
				case "none":
					p.etag = ""
				}
				cache, h := open(t, Options{}, p)
				want(t, get(h, url, "Range", beginning), 206, "0123")
				if c.before != nil {
					c.before(t, cache, p)
				}
				w := get(h, url)
				want(t, w, 200, p.body)
				if w.Header().Get("Content-Range") != "" || w.Header().Get("Content-Length") != fmt.Sprint(len(p.body)) || w.Header().Get("Etag") != p.etag {
					t.Errorf("header %v", w.Header())
				}
				want(t, get(h, url), 200, p.body)
				want(t, get(h, url, "Range", "bytes=3-5"), 206, p.body[3:6])
				p.want(t, append([]string{beginning + " "}, c.asked...)...)
			})
		})
	}
}

// A rest that breaks off is no whole, however much of it was there before.
func TestCompletesNothingWithARestThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		p := &pieces{body: "0123456789", control: "max-age=60", etag: `"v1"`, rest: func(w http.ResponseWriter, _ *http.Request) bool {
			if broken {
				w.Header().Set("Content-Range", "bytes 4-9/10")
				w.Header().Set("Content-Length", "6")
				w.WriteHeader(206)
				io.WriteString(w, "45")
				broken = false
				panic(http.ErrAbortHandler)
			}
			return false
		}}
		_, h := open(t, Options{}, p)
		want(t, get(h, "http://a.example/", "Range", "bytes=0-3"), 206, "0123")
		func() {
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("panic: %v", v)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.example/", nil))
		}()
		want(t, get(h, "http://a.example/"), 200, "0123456789")
		want(t, get(h, "http://a.example/"), 200, "0123456789")
		p.want(t, "bytes=0-3 ", `bytes=4- "v1"`, `bytes=4- "v1"`)
	})
}

// A backend that answers a rest to who asks for the whole is not asked for ever.
func TestCompletesNothingWithARestThatNobodyAskedFor(t *testing.T) {
	for _, status := range []int{206, 416} {
		p := &pieces{body: "0123456789", control: "max-age=60", etag: `"v1"`}
		calls := 0
		_, h := open(t, Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				p.ServeHTTP(w, r)
				return
			}
			if calls == 10 {
				panic("it is asked for ever")
			}
			w.WriteHeader(status)
		}))
		want(t, get(h, "http://a.example/", "Range", "bytes=0-3"), 206, "0123")
		want(t, get(h, "http://a.example/"), status, "")
		if calls != 3 { // the beginning, the rest, and the whole
			t.Errorf("%d: %d calls", status, calls)
		}
	}
}

// Visitors at once share the completion, each from the beginning.
func TestCompletesForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pieces{body: "0123456789", control: "max-age=60", etag: `"v1"`, rest: func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Second)
			return false
		}}
		_, h := open(t, Options{}, p)
		want(t, get(h, "http://a.example/", "Range", "bytes=0-3"), 206, "0123")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { want(t, get(h, "http://a.example/"), 200, "0123456789") })
		}
		wg.Wait()
		p.want(t, "bytes=0-3 ", `bytes=4- "v1"`)
	})
}

// TestCompletedPageKeepsItsTags: the rest need not repeat them.
func TestCompletedPageKeepsItsTags(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"a"`}}, answer: func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Cache-Tag", "film")
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}}
	c, h := open(t, Options{}, b)
	want(t, get(h, "http://a.example/film", "Range", "bytes=0-3"), 206, "0123")
	want(t, get(h, "http://a.example/film"), 200, "0123456789")
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"film"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	if get(h, "http://a.example/film"); b.calls.Load() != 3 {
		t.Errorf("%d calls: the page is not known by its tag", b.calls.Load())
	}
}
