package cache

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/testkit"
)

// A packer is a Coder whose coding is deflate in any case: what it is called is for
// the test to say.
type packer struct {
	name  string
	calls atomic.Int32
	hold  chan struct{}                        // each call waits until it can receive
	does  func(w io.Writer, r io.Reader) error // in place of all that
}

func (p *packer) Coding() string { return p.name }

func (p *packer) Encode(w io.Writer, r io.Reader) error {
	p.calls.Add(1)
	if p.does != nil {
		return p.does(w, r)
	}
	if p.hold != nil {
		<-p.hold
	}
	z, _ := flate.NewWriter(w, 5)
	_, err := io.Copy(z, r)
	if err == nil {
		err = z.Close()
	}
	return err
}

func packers() (list []Coder) {
	for _, name := range []string{"br", "zstd", "gzip"} {
		list = append(list, &packer{name: name})
	}
	return list
}

func unpack(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Header().Get("Content-Encoding") == "" {
		return w.Body.String()
	}
	body, err := io.ReadAll(flate.NewReader(w.Body))
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// markup is n bytes of text.
func markup(n int) string {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "<li><a href=\"/p/%d\">%x</a></li>\n", rnd.IntN(10000), rnd.Uint32())
	}
	return b.String()[:n]
}

// random is n bytes that nothing makes smaller.
func random(n int) string {
	b := make([]byte, n)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

// writes is a backend whose page is this one, with more fields, or without those that are
// empty.
func writes(body string, fields ...string) *backend {
	b := &backend{header: http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"max-age=60"}, "Etag": {`"v1"`}}}
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] == "" {
			delete(b.header, fields[i])
			continue
		}
		b.header[fields[i]] = append(b.header[fields[i]][:0:0], fields[i+1])
	}
	b.answer = func(w http.ResponseWriter, r *http.Request, _ int) { _, _ = io.WriteString(w, body) }
	return b
}

// compressed runs f in a bubble, with a cache that compresses what b answers.
func compressed(t *testing.T, opts Options, b http.Handler, f func(c *Cache, h http.Handler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if opts.Compress == nil {
			opts.Compress = packers()
		}
		c, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = c.Close()
			used := c.store.Stats()
			invalidate(c, Invalidation{All: true, Hard: true})
			if st := c.store.Stats(); st.Used != 0 || st.Forms != 0 || st.FormBytes != 0 {
				t.Errorf("after everything was purged: %+v, before %+v", st, used)
			}
		}()
		f(c, c.Handler(b))
	})
}

// told is what a form's header says of it.
func toldOf(w *httptest.ResponseRecorder) string {
	h := w.Header()
	return fmt.Sprint(w.Code, h["Content-Encoding"], h["Etag"], h["Vary"], h["Accept-Ranges"], h.Get("Content-Length") == strconv.Itoa(w.Body.Len()))
}

// TestWhatIsStoredIsSentInTheCodingThatIsWanted, once it has been made; before that it
// is sent as it is.
func TestWhatIsStoredIsSentInTheCodingThatIsWanted(t *testing.T) {
	page := markup(20_000)
	b := writes(page, "Accept-Ranges", "bytes")
	compressed(t, Options{}, b, func(c *Cache, h http.Handler) {
		const plain = `200 [] ["v1"] [Accept-Encoding] [bytes] false`
		as := func(coding string) string {
			return `200 [` + coding + `] [W/"v1"] [Accept-Encoding] [] true`
		}
		for _, ask := range []struct{ accepts, want string }{
			{"gzip, deflate, br, zstd", plain}, // the first: it is stored only now
			{"gzip, deflate, br, zstd", as("br")},
			{"gzip, br", as("br")},
			{"gzip, br;q=0.5", as("br")}, // the only one there, and wanted
			{"gzip, br;q=0.5", as("gzip")},
			{"zstd", strings.Replace(plain, "false", "true", 1)},
			{"zstd, gzip;q=0.1", as("zstd")},
			{"*", as("br")}, {"br;q=0, *;q=0.2", as("zstd")}, {"x-gzip", as("gzip")}, {"identity;q=0, br", as("br")},
		} {
			w := get(h, "http://a.example/", "Accept-Encoding", ask.accepts)
			if got := toldOf(w); got != ask.want {
				t.Errorf("%s: %s, want %s", ask.accepts, got, ask.want)
			}
			if unpack(t, w) != page {
				t.Errorf("%s: another page", ask.accepts)
			}
			synctest.Wait()
		}
		for _, accepts := range []string{"", "identity", "deflate", "gzip;q=0", "identity;q=0.9, br;q=0.8", "gzip, " + strings.Repeat("x,", 100)} {
			w := get(h, "http://a.example/", "Accept-Encoding", accepts)
			if got := toldOf(w); got != strings.Replace(plain, "false", "true", 1) || w.Body.String() != page {
				t.Errorf("%q: %s", accepts, got)
			}
		}
		w := get(h, "http://a.example/", "Accept-Encoding", "br", "Cache-Control", "No-Transform")
		if w.Header()["Content-Encoding"] != nil || w.Body.String() != page {
			t.Errorf("for who wants it as it is: %v", w.Header())
		}
		if n := b.calls.Load(); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
		for _, one := range c.coders.list {
			if p := one.(*packer); p.calls.Load() != 1 {
				t.Errorf("%s was made %d times", p.name, p.calls.Load())
			}
		}
		if st := c.store.Stats(); st.Count != 1 || st.Forms != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// TestAHeadOfAFormIsAsAGet, and so are Age and Cache-Status as without forms.
func TestAHeadOfAFormIsAsAGet(t *testing.T) {
	compressed(t, Options{}, writes(markup(5000)), func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "gzip")
		time.Sleep(3 * time.Second) // by the bubble's clock: Age is told
		for _, accepts := range []string{"gzip", "identity"} {
			w := get(h, "http://a.example/", "Accept-Encoding", accepts)
			r := httptest.NewRequest("HEAD", "http://a.example/", nil)
			r.Header.Set("Accept-Encoding", accepts)
			head := do(h, r)
			if !maps.EqualFunc(w.Header(), head.Header(), func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || head.Body.Len() != 0 {
				t.Errorf("%s: HEAD %v, GET %v", accepts, head.Header(), w.Header())
			}
			if w.Header().Get("Age") != "3" || w.Header().Get("Cache-Status") != "Foretier; hit; ttl=57" {
				t.Errorf("%s: %v", accepts, w.Header())
			}
		}
		r := httptest.NewRequest("HEAD", "http://a.example/other", nil)
		if w := do(h, r); fmt.Sprint(w.Header()["Vary"]) != "[Accept-Encoding]" {
			t.Errorf("HEAD of what is not stored: %v", w.Header())
		}
	})
}

// TestConditionsForEitherForm: a browser that has the page in any form is told so.
func TestConditionsForEitherForm(t *testing.T) {
	b := writes(markup(5000), "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	compressed(t, Options{}, b, func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		for _, ask := range []struct {
			accepts, name, value string
			status               int
			etag                 string
		}{
			{"br", "If-None-Match", `W/"v1"`, 304, `W/"v1"`},
			{"br", "If-None-Match", `"v1"`, 304, `W/"v1"`},
			{"", "If-None-Match", `W/"v1"`, 304, `"v1"`},
			{"", "If-None-Match", `"v1"`, 304, `"v1"`},
			{"br", "If-None-Match", `"v0", W/"v1"`, 304, `W/"v1"`},
			{"br", "If-None-Match", `W/"v0"`, 200, `W/"v1"`},
			{"br", "If-None-Match", `*`, 304, `W/"v1"`},
			{"br", "If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT", 304, `W/"v1"`},
			{"br", "If-Modified-Since", "Mon, 02 Jan 2006 15:04:04 GMT", 200, `W/"v1"`},
		} {
			w := get(h, "http://a.example/", "Accept-Encoding", ask.accepts, ask.name, ask.value)
			if w.Code != ask.status || w.Header().Get("Etag") != ask.etag || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%+v: %d %v", ask, w.Code, w.Header())
			}
			if coded := w.Header()["Content-Encoding"] != nil; coded != (w.Code == 200) {
				t.Errorf("%+v: %v", ask, w.Header())
			}
		}
		if b.calls.Load() != 1 {
			t.Error("the backend was asked")
		}
	})
}

// TestPartsAreOfWhatIsNotCoded.
func TestPartsAreOfWhatIsNotCoded(t *testing.T) {
	page := markup(5000)
	compressed(t, Options{}, writes(page), func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		for _, ask := range []struct {
			ranged, ifRange string
			status          int
			body            string
		}{
			{"bytes=10-19", "", 206, page[10:20]},
			{"bytes=-5", "", 206, page[4995:]},
			{"bytes=10-19", `"v1"`, 206, page[10:20]},
			{"bytes=10-19", `W/"v1"`, 200, page}, // a form's: it says nothing of bytes
			{"bytes=10-19", `"v0"`, 200, page},
			{"bytes=6000-", "", 416, ""},
			{"lines=1-2", "", 416, ""},
		} {
			fields := []string{"Accept-Encoding", "br", "Range", ask.ranged}
			if ask.ifRange != "" {
				fields = append(fields, "If-Range", ask.ifRange)
			}
			w := get(h, "http://a.example/", fields...)
			if w.Code != ask.status || w.Header()["Content-Encoding"] != nil || ask.body != "" && w.Body.String() != ask.body {
				t.Errorf("%+v: %d %v, %d bytes", ask, w.Code, w.Header(), w.Body.Len())
			}
			if got := w.Header().Get("Etag"); w.Code != 416 && got != `"v1"` {
				t.Errorf("%+v: Etag %s", ask, got)
			}
		}
	})
}

// TestWhatStaysAsItIs: it has no form, and Vary does not say that it might.
func TestWhatStaysAsItIs(t *testing.T) {
	for name, b := range map[string]*backend{
		"a picture":             writes(markup(5000), "Content-Type", "image/png"),
		"of no type":            writes(markup(5000), "Content-Type", ""),
		"no-transform":          writes(markup(5000), "Cache-Control", "max-age=60, no-transform"),
		"coded by the backend":  writes(markup(5000), "Content-Encoding", "br"),
		"coded in another":      writes(markup(5000), "Content-Encoding", "x"),
		"with a digest":         writes(markup(5000), "Repr-Digest", "sha-256=:x:"),
		"to be processed":       writes(markup(5000), "Surrogate-Control", `max-age=60, content="ESI/1.0"`),
		"small":                 writes(markup(1023), "Content-Length", "1023"),
		"small, by its end":     writes(markup(1023)),
		"hardly smaller":        writes(random(5000)),
		"hardly smaller, large": writes(random(500_000)),
	} {
		t.Run(name, func(t *testing.T) {
			compressed(t, Options{}, b, func(c *Cache, h http.Handler) {
				for range 4 {
					w := get(h, "http://a.example/", "Accept-Encoding", "gzip, br")
					if fmt.Sprint(w.Header()["Content-Encoding"]) != fmt.Sprint(b.header["Content-Encoding"]) || w.Header().Get("Etag") != `"v1"` {
						t.Errorf("%v", w.Header())
					}
					synctest.Wait()
				}
				varies := get(h, "http://a.example/").Header()["Vary"] != nil
				if varies && name != "hardly smaller" && name != "hardly smaller, large" {
					t.Error("it varies")
				}
				calls := int32(0)
				for _, one := range c.coders.list {
					calls += one.(*packer).calls.Load()
				}
				if calls > 1 || calls == 1 && !varies || c.store.Stats().Forms != 0 {
					t.Errorf("tried %d times", calls)
				}
			})
		})
	}
}

// TestABackendThatCompressesGoesOn: its variants are told apart as without forms, and
// what it does not code has forms.
func TestABackendThatCompressesGoesOn(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "gzipped")
			return
		}
		_, _ = io.WriteString(w, markup(5000))
	}
	compressed(t, Options{}, b, func(c *Cache, h http.Handler) {
		for range 2 {
			if w := get(h, "http://a.example/", "Accept-Encoding", "gzip, br"); w.Body.String() != "gzipped" || w.Header().Get("Content-Encoding") != "gzip" {
				t.Errorf("%v", w.Header())
			}
			if w := get(h, "http://a.example/"); w.Body.String() != markup(5000) || fmt.Sprint(w.Header()["Vary"]) != "[Accept-Encoding]" {
				t.Errorf("%v", w.Header())
			}
			synctest.Wait()
		}
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		w := get(h, "http://a.example/", "Accept-Encoding", "br")
		if w.Header().Get("Content-Encoding") != "br" || unpack(t, w) != markup(5000) || fmt.Sprint(w.Header()["Vary"]) != "[Accept-Encoding]" {
			t.Errorf("one that the backend does not have: %v", w.Header())
		}
		if n := b.calls.Load(); n != 3 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestValidationIsOfTheBackendsOwn: it is asked by the ETag that it gave, and forms of
// a page that has not changed are not made again.
func TestValidationIsOfTheBackendsOwn(t *testing.T) {
	b := writes("")
	version := "v1"
	b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Etag", `"`+version+`"`)
		w.Header().Set("X-N", strconv.Itoa(n))
		if asked := r.Header.Get("If-None-Match"); asked == `"`+version+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		} else if n > 1 && asked != `"v1"` {
			t.Errorf("If-None-Match: %s", asked)
		}
		_, _ = io.WriteString(w, version+markup(5000))
	}
	for _, lifetime := range []string{"max-age=60", "no-cache"} {
		b.header["Cache-Control"] = []string{lifetime}
		b.calls.Store(0)
		version = "v1"
		compressed(t, Options{}, b, func(c *Cache, h http.Handler) {
			ask := func() *httptest.ResponseRecorder {
				w := get(h, "http://a.example/", "Accept-Encoding", "br", "If-None-Match", `W/"v9"`)
				synctest.Wait()
				time.Sleep(61 * time.Second) // by the bubble's clock: it is fresh no more
				return w
			}
			ask()
			for n := 2; n < 5; n++ {
				w := ask()
				if unpack(t, w) != "v1"+markup(5000) || w.Header().Get("Content-Encoding") != "br" || w.Header().Get("Etag") != `W/"v1"` {
					t.Errorf("%s: %v", lifetime, w.Header())
				}
				if w.Header().Get("X-N") != strconv.Itoa(n) {
					t.Errorf("%s: not what the 304 said: %v", lifetime, w.Header())
				}
				if st := c.store.Stats(); st.Forms != 1 || st.Count != 1 || st.Loose != 0 {
					t.Errorf("%+v", st)
				}
			}
			if n := c.coders.list[0].(*packer).calls.Load(); n != 1 {
				t.Errorf("%s: made %d times", lifetime, n)
			}
			version = "v2"
			if w := ask(); unpack(t, w) != "v2"+markup(5000) {
				t.Error("the old one")
			}
			if w := ask(); unpack(t, w) != "v2"+markup(5000) || w.Header().Get("Etag") != `W/"v2"` {
				t.Errorf("a form of the old one: %v", w.Header())
			}
		})
	}
}

// TestAFormThatComesTooLate: what it is made of has gone meanwhile, or been replaced.
func TestAFormThatComesTooLate(t *testing.T) {
	for name, goes := range map[string]func(c *Cache, h http.Handler){
		"purged":      func(c *Cache, _ http.Handler) { invalidate(c, Invalidation{URL: "http://a.example/", Hard: true}) },
		"all is":      func(c *Cache, _ http.Handler) { invalidate(c, Invalidation{All: true, Hard: true}) },
		"softly":      func(c *Cache, _ http.Handler) { invalidate(c, Invalidation{All: true}) },
		"replaced":    func(_ *Cache, h http.Handler) { time.Sleep(2 * time.Hour); get(h, "http://a.example/") },
		"evicted":     func(c *Cache, h http.Handler) { fill(c, h, "http://a.example/x") },
		"closed":      func(c *Cache, h http.Handler) { go c.Close() },
		"not at all":  func(c *Cache, h http.Handler) {},
		"client left": func(c *Cache, h http.Handler) { leave(h, "http://a.example/") },
	} {
		t.Run(name, func(t *testing.T) {
			p := &packer{name: "br"}
			n := 0
			b := writes("")
			b.answer = func(w http.ResponseWriter, r *http.Request, _ int) {
				n++
				_, _ = fmt.Fprint(w, r.URL.Path, n, markup(50_000))
			}
			compressed(t, Options{MaxBytes: 1 << 20, Compress: []Coder{p}, Grace: -1}, b, func(c *Cache, h http.Handler) {
				hold := make(chan struct{})
				p.hold = hold
				get(h, "http://a.example/", "Accept-Encoding", "br")
				synctest.Wait()
				if len(c.coders.making) != 1 {
					t.Fatal("nothing is being made")
				}
				p.hold = nil
				goes(c, h)
				synctest.Wait()
				close(hold)
				synctest.Wait()
				if len(c.coders.making) != 0 {
					t.Error("it is still being made")
				}
				st := c.store.Stats()
				if st.Loose != 0 || st.Used != st.Held {
					t.Errorf("%+v", st)
				}
				kept := name == "not at all" || name == "softly" || name == "client left"
				if kept != (st.Forms == 1) {
					t.Errorf("%d forms", st.Forms)
				}
				want := unpack(t, get(h, "http://a.example/", "Accept-Encoding", "br"))
				synctest.Wait()
				if got := unpack(t, get(h, "http://a.example/", "Accept-Encoding", "br")); got != want && name != "softly" && name != "closed" {
					t.Error("a form of another page")
				}
				if c.store.Stats().Forms == 0 && name != "closed" {
					t.Error("no form is made any more")
				}
			})
		})
	}
}

// fill asks for so many pages that all before are gone.
func fill(c *Cache, h http.Handler, url string) {
	for i := range 100 {
		get(h, url+strconv.Itoa(i))
	}
}

// leave asks and goes away before the answer.
func leave(h http.Handler, url string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", url, nil)
	r.Header.Set("Accept-Encoding", "br")
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), r)
	}()
}

// TestFewAreMadeAtOnce, each by one.
func TestFewAreMadeAtOnce(t *testing.T) {
	p := &packer{name: "br"}
	compressed(t, Options{Compress: []Coder{p}}, writes(markup(5000)), func(c *Cache, h http.Handler) {
		hold := make(chan struct{})
		p.hold = hold
		for range 3 {
			for i := range 20 {
				get(h, "http://a.example/"+strconv.Itoa(i), "Accept-Encoding", "br")
			}
		}
		synctest.Wait()
		if n := int(p.calls.Load()); n != c.coders.places {
			t.Errorf("%d at once", n)
		}
		close(hold)
		for range 40 {
			for i := range 20 {
				get(h, "http://a.example/"+strconv.Itoa(i), "Accept-Encoding", "br")
			}
			synctest.Wait()
		}
		if st := c.store.Stats(); st.Forms != 20 || p.calls.Load() != 20 {
			t.Errorf("%d forms in %d calls", st.Forms, p.calls.Load())
		}
	})
}

// TestACoderThatFails costs its page the form, and nobody anything else.
func TestACoderThatFails(t *testing.T) {
	for name, does := range map[string]func(w io.Writer, r io.Reader) error{
		"error":            func(io.Writer, io.Reader) error { return errors.New("broken") },
		"error after some": func(w io.Writer, _ io.Reader) error { _, _ = w.Write([]byte("x")); return errors.New("broken") },
		"panic":            func(io.Writer, io.Reader) error { panic("broken") },
		"reads nothing":    func(w io.Writer, _ io.Reader) error { _, err := w.Write([]byte("x")); return err },
		"reads a part": func(w io.Writer, r io.Reader) error {
			_, err := io.CopyN(w, r, 100)
			return err
		},
		"hides errors": func(w io.Writer, r io.Reader) error {
			for range 10 {
				_, _ = w.Write(make([]byte, 1000))
			}
			_, _ = io.Copy(io.Discard, r)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			p := &packer{name: "br", does: does}
			compressed(t, Options{Compress: []Coder{p}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, writes(markup(5000)), func(c *Cache, h http.Handler) {
				for range 3 {
					w := get(h, "http://a.example/", "Accept-Encoding", "br")
					if w.Body.String() != markup(5000) {
						t.Errorf("%d bytes", w.Body.Len())
					}
					synctest.Wait()
				}
				if p.calls.Load() != 1 || c.store.Stats().Forms != 0 {
					t.Errorf("%d calls, %d forms", p.calls.Load(), c.store.Stats().Forms)
				}
				if lines := strings.Count(log.String(), "cannot be compressed"); lines != 1 && name != "hides errors" {
					t.Errorf("%d lines: %s", lines, log.String())
				}
			})
		})
	}
}

// TestFormsWithinMaxBytes: with hardly any room, and with none, pages are served and
// nothing is exceeded; without room nobody tries all the time.
func TestFormsWithinMaxBytes(t *testing.T) {
	list := packers()
	page := markup(60_000)
	compressed(t, Options{MaxBytes: 1 << 20, Compress: list}, writes(page), func(c *Cache, h http.Handler) {
		for i := range 400 {
			url := "http://a.example/" + strconv.Itoa(i%23)
			w := get(h, url, "Accept-Encoding", []string{"br", "gzip", "zstd", "br, gzip"}[i%4])
			if unpack(t, w) != page {
				t.Fatal("another page")
			}
			if i%3 == 0 {
				synctest.Wait()
			}
			if st := c.store.Stats(); st.Used > st.Max || st.FormBytes > st.Held {
				t.Fatalf("%+v", st)
			}
		}
		get(h, "http://a.example/0", "Accept-Encoding", "identity")
		synctest.Wait()
		if c.store.Stats().Evictions == 0 || c.figures.forms.Load() < 20 {
			t.Errorf("%+v, %d forms", c.store.Stats(), c.figures.forms.Load())
		}

		// All that is free is taken, and what is stored is read.
		invalidate(c, Invalidation{All: true, Hard: true})
		get(h, "http://a.example/", "Accept-Encoding", "identity")
		e := c.store.Get([]byte("a.example/"), func(*memory.Entry) bool { return true })
		st := c.store.Stats()
		if !c.store.Reserve(st.Max - st.Used - 100) {
			t.Fatal("no room")
		}
		before := list[0].(*packer).calls.Load()
		for range 50 {
			if w := get(h, "http://a.example/", "Accept-Encoding", "br"); unpack(t, w) != page {
				t.Error("another page")
			}
			synctest.Wait()
		}
		if n := list[0].(*packer).calls.Load() - before; n > 1 {
			t.Errorf("tried %d times", n)
		}
		c.store.Unreserve(st.Max - st.Used - 100)
		c.store.Release(e)
	})
}

// A stuck writer takes nothing until it is told, and then all.
type stuck struct {
	*httptest.ResponseRecorder
	told chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.told
	return s.ResponseRecorder.Write(p)
}

// TestASlowReaderOfAFormThatGoes gets it whole, and it counts until then.
func TestASlowReaderOfAFormThatGoes(t *testing.T) {
	page := markup(60_000)
	compressed(t, Options{}, writes(page), func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		form := c.store.Stats().FormBytes
		s := &stuck{httptest.NewRecorder(), make(chan struct{})}
		var wg sync.WaitGroup
		wg.Go(func() {
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			r.Header.Set("Accept-Encoding", "br")
			h.ServeHTTP(s, r)
		})
		synctest.Wait()
		invalidate(c, Invalidation{All: true, Hard: true})
		if st := c.store.Stats(); st.Forms != 0 || st.Held != 0 || st.Used < form+60_000 || st.Loose != st.Used {
			t.Errorf("while it is read: %+v", st)
		}
		close(s.told)
		wg.Wait()
		if got := unpack(t, s.ResponseRecorder); got != page {
			t.Errorf("%d bytes", len(got))
		}
	})
}

// TestSixteenMegabytesOfZeros is what the largest body may be: it shrinks to nothing,
// in pieces, and whoever closes meanwhile does not wait for the end.
func TestSixteenMegabytesOfZeros(t *testing.T) {
	body := strings.Repeat("\x00", 16<<20)
	p := &packer{name: "gzip"}
	compressed(t, Options{Compress: []Coder{p}}, writes(body), func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "gzip")
		synctest.Wait()
		w := get(h, "http://a.example/", "Accept-Encoding", "gzip")
		if w.Body.Len() > 100_000 || unpack(t, w) != body {
			t.Errorf("%d bytes", w.Body.Len())
		}
		// Another never ends: it writes a byte for each that it reads.
		reads := 0
		ended := make(chan error, 1)
		p.does = func(w io.Writer, r io.Reader) error {
			for b := make([]byte, 1); ; reads++ {
				if _, err := r.Read(b); err != nil {
					ended <- err
					return err
				}
				if reads == 1000 {
					go c.Close()
					<-c.coders.ctx.Done()
				}
			}
		}
		get(h, "http://a.example/other", "Accept-Encoding", "gzip")
		if err := <-ended; err != context.Canceled || reads > 1001 {
			t.Errorf("after %d reads: %v", reads, err)
		}
	})
}

// TestWhatIsTaughtIsFinal: a form that is still to come is not answered from heads.
func TestWhatIsTaughtIsFinal(t *testing.T) {
	page := markup(60_000)
	compressed(t, Options{}, writes(page), func(c *Cache, h http.Handler) {
		ask := func(accepts string) int64 {
			p := learn(h, "/", "Accept-Encoding", accepts)
			synctest.Wait()
			if p == nil {
				return -1
			}
			saved := c.figures.saved.Load()
			if _, _, ok := p.Open(time.Now(), true); !ok {
				t.Fatal("not open")
			}
			if got := c.figures.saved.Load() - saved; got != 0 {
				t.Errorf("%s: %d bytes saved by an answer of which no body is sent", accepts, got)
			}
			got := p.AppendBody(nil, 100)
			if n := int64(c.figures.saved.Load() - saved); n != int64(len(page))-p.Len() {
				t.Errorf("%s: %d bytes saved", accepts, n)
			}
			var s drain
			_, _ = p.Send(&s, int64(len(got)), netip.Addr{})
			body := string(got) + s.String()
			if int64(len(body)) != p.Len() {
				t.Errorf("%s: %d of %d bytes", accepts, len(body), p.Len())
			}
			if p.Len() < int64(len(page)) {
				b, err := io.ReadAll(flate.NewReader(strings.NewReader(body)))
				if err != nil || string(b) != page {
					t.Errorf("%s: %d bytes, %v", accepts, len(b), err)
				}
			}
			return p.Len()
		}
		if n := ask("br"); n != -1 {
			t.Errorf("a miss has taught %d bytes", n)
		}
		br := ask("br")
		if br < 0 || br > 30_000 || ask("gzip, br") != br {
			t.Errorf("%d bytes", br)
		}
		if n := ask("gzip, br;q=0.5"); n != -1 {
			t.Errorf("%d bytes, while gzip was being made", n)
		}
		if n := ask("gzip, br;q=0.5"); n < 0 || n > 30_000 {
			t.Errorf("%d bytes", n)
		}
		if n := ask(""); n != int64(len(page)) {
			t.Errorf("%d bytes for who accepts none", n)
		}
	})
	compressed(t, Options{}, writes(random(60_000)), func(c *Cache, h http.Handler) {
		learn(h, "/", "Accept-Encoding", "br")
		synctest.Wait()
		if p := learn(h, "/", "Accept-Encoding", "br"); p == nil || p.Len() != 60_000 {
			t.Error("what has no forms is not taught")
		}
	})
}

// TestFormsAreExplained as they are served.
func TestFormsAreExplained(t *testing.T) {
	compressed(t, Options{}, writes(markup(5000)), func(c *Cache, h http.Handler) {
		explain := func() string {
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			r.Header.Set("Accept-Encoding", "br;q=0.5, gzip")
			return h.(*handler).Explain(r).String()
		}
		get(h, "http://a.example/")
		if d := explain(); !strings.Contains(d, "sent as it is, until there is a form in gzip") {
			t.Error(d)
		}
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		if d := explain(); !strings.Contains(d, "sent in br, ") || !strings.Contains(d, "until there is a form in gzip") {
			t.Error(d)
		}
		get(h, "http://a.example/", "Accept-Encoding", "gzip")
		synctest.Wait()
		n := get(h, "http://a.example/", "Accept-Encoding", "gzip").Body.Len()
		if d := explain(); !strings.Contains(d, fmt.Sprintf("sent in gzip, %d bytes", n)) || strings.Contains(d, "until") {
			t.Error(d)
		}
	})
}

func TestBadCoders(t *testing.T) {
	var none *packer
	for name, list := range map[string][]Coder{
		"nil": {nil}, "a nil one": {none}, "twice": {&packer{name: "br"}, &packer{name: "br"}}, "twice by two names": {&packer{name: "gzip"}, &packer{name: "x-gzip"}},
		"unknown": {&packer{name: "lzma"}}, "identity": {&packer{name: "identity"}}, "empty": {&packer{}},
	} {
		if _, err := New(Options{Compress: list}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAFormOfManyChunks is one body.
func TestAFormOfManyChunks(t *testing.T) {
	body := markup(900_000)
	compressed(t, Options{}, writes(body), func(c *Cache, h http.Handler) {
		get(h, "http://a.example/", "Accept-Encoding", "br")
		synctest.Wait()
		w := get(h, "http://a.example/", "Accept-Encoding", "br")
		if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) || w.Body.Len() < 100_000 {
			t.Fatalf("%v", w.Header())
		}
		if !bytes.Equal([]byte(unpack(t, w)), []byte(body)) {
			t.Error("another body")
		}
	})
}

// TestWhatIsHardlySmallerIsNotTriedAgain when it is confirmed.
func TestWhatIsHardlySmallerIsNotTriedAgain(t *testing.T) {
	b := writes("")
	b.answer = func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, random(5000))
	}
	p := &packer{name: "br"}
	compressed(t, Options{Compress: []Coder{p}}, b, func(c *Cache, h http.Handler) {
		for range 4 {
			if w := get(h, "http://a.example/", "Accept-Encoding", "br"); w.Body.String() != random(5000) {
				t.Errorf("%d bytes", w.Body.Len())
			}
			synctest.Wait()
			time.Sleep(61 * time.Second) // by the bubble's clock: it is fresh no more
		}
		if b.calls.Load() != 4 || p.calls.Load() != 1 {
			t.Errorf("asked %d times, tried %d times", b.calls.Load(), p.calls.Load())
		}
	})
}
