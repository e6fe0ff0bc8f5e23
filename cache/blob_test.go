package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
)

// blobLeavesOut are the fields of what is stored that no blob has, and why.
var blobLeavesOut = map[string]string{
	"refreshing": "of this process's fetches",
	"Asked":      "in this cache's own count: Applied says it",
	"freq":       "of this store's eviction",
	"next":       "of this store", "newer": "of this store", "older": "of this store", "size": "of this store",
	"queue": "of this store", "given": "of this store", "stuck": "of this store", "refs": "of this store",
	"pins": "of this store", "kept": "of this store", "places": "of this store", "beside": "forms are made anew",
	"Range": "parts stay here", "First": "parts stay here", "Total": "parts stay here",
	"purged": "it is there: see below", "More": "its fields are looked at",
}

// TestBlobHasEveryField fills each field of a stored response, those to come too, and
// has it read back: what is left out would be forgotten on the way.
func TestBlobHasEveryField(t *testing.T) {
	more := new(memory.More)
	e := &memory.Entry{More: more}
	for _, v := range []reflect.Value{reflect.ValueOf(e).Elem(), reflect.ValueOf(more).Elem()} {
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if blobLeavesOut[name] != "" {
				continue
			}
			switch field := v.Field(i); {
			case !v.Type().Field(i).IsExported():
				t.Errorf("%s: is it in the blob? If it is not, blobLeavesOut says why", name)
			case name == "Head":
				field.SetString("Name: value\r\nNone\r\n")
			case name == "Flags":
				field.SetUint(uint64(blobFlags))
			case name == "Status":
				field.SetUint(203)
			case name == "Tags":
				field.Set(reflect.ValueOf([]uint64{1, 1<<64 - 1}))
			case name == "Body":
				field.SetBytes([]byte("the \x00 body,"))
			case name == "Chunks":
				field.Set(reflect.ValueOf([][]byte{[]byte(" in"), nil, []byte(" pieces")}))
			case field.Kind() == reflect.String:
				field.SetString("a.example/\xff\"<é" + name)
			case field.Kind() == reflect.Bool:
				field.SetBool(true)
			case field.CanInt():
				field.SetInt(-1 << 62)
			case field.CanUint():
				field.SetUint(1<<32 - 1)
			default:
				t.Fatalf("no value for %s", name)
			}
		}
	}
	e.Purge(time.Unix(0, 77))
	blob, ok := appendBlob([]byte("before"), e, 1<<64-1)
	if !ok || !bytes.HasPrefix(blob, []byte("before")) {
		t.Fatalf("%v %q", ok, blob)
	}
	got, applied, err := readBlob(blob[len("before"):], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	body := slices.Concat(e.Chunks()...)
	e.Body, more.Chunks = body, nil
	if name := nameOf(e.URL); name != e.URL {
		more.Tags = append(more.Tags, nameTag(name))
	}
	if !reflect.DeepEqual(got, e) || got.Purged() != 77 || applied != 1<<64-1 {
		t.Errorf("got  %+v\n%+v at %d\nwant %+v\n%+v", got, got.More, applied, e, e.More)
	}
	blob = blob[len("before"):]
	clear(blob)
	if string(got.Body) != string(body) {
		t.Error("the body is the blob's")
	}
}

// TestBlobOfWhatStays: parts, and what is no header on the wire, do not leave the
// process.
func TestBlobOfWhatStays(t *testing.T) {
	for name, e := range map[string]*memory.Entry{
		"a part":                 {URL: "a.example/", Status: 206, Flags: memory.Part, More: &memory.More{Range: "bytes=0-1"}},
		"a line break":           {URL: "a.example/", Status: 200, Head: "A: b\nC: d\r\n"},
		"a name that is none":    {URL: "a.example/", Status: 200, Head: "A b: c\r\n"},
		"a line without its end": {URL: "a.example/", Status: 200, Head: "A: b"},
		"no URL":                 {Status: 200},
		"an interim one":         {URL: "a.example/", Status: 103},
	} {
		if blob, ok := appendBlob(nil, e, 1); ok || len(blob) > 0 {
			t.Errorf("%s: %q", name, blob)
		}
	}
}

// someBlob is a blob of all that there can be, of a URL that is not its name.
func someBlob(t testing.TB) []byte {
	e := &memory.Entry{
		URL: "a.example:80/%7ea?b", Head: "Cache-Control: max-age=60\r\nDate\r\n", Status: 200, HTTPS: true, Flags: memory.Public, Cost: 7,
		Born: 1, FreshUntil: 2, Grace: 3, ErrorGrace: 4, Keep: 5, Body: []byte("<p>"),
		More: &memory.More{Parts: "EUR\x00", Vary: "Accept-Language", Variant: "de\x01", Tags: []uint64{9, 3, nameTag("a.example/~a?b")}},
	}
	e.Purge(time.Unix(0, 6))
	blob, ok := appendBlob(nil, e, 8)
	if !ok {
		t.Fatal("it stays")
	}
	return blob
}

// sealed returns a blob with the checksum that it ought to have.
func sealed(blob []byte) []byte {
	if len(blob) < crc32.Size {
		return blob
	}
	end := len(blob) - crc32.Size
	return binary.LittleEndian.AppendUint32(slices.Clone(blob[:end]), crc32.Checksum(blob[:end], castagnoli))
}

// TestBlobDamaged: a blob of which a bit is another, or that is cut off or goes on, is
// not read.
func TestBlobDamaged(t *testing.T) {
	good := someBlob(t)
	if _, _, err := readBlob(good, time.Now()); err != nil {
		t.Fatal(err)
	}
	for i := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if e, _, err := readBlob(bad, time.Now()); err == nil {
			t.Fatalf("bit %d: %+v", i, e)
		}
	}
	for n := range good {
		if e, _, err := readBlob(good[:n], time.Now()); err == nil {
			t.Fatalf("%d bytes: %+v", n, e)
		}
	}
	if e, _, err := readBlob(append(good, 0), time.Now()); err == nil {
		t.Fatalf("one byte more: %+v", e)
	}
}

// TestBlobForged: a blob that says what none does is not read, though its checksum is
// right, and no length in it has anything allocated.
func TestBlobForged(t *testing.T) {
	lengths := blobHeadLen - 24 // from there on
	for name, forge := range map[string]func(b []byte){
		"another version":  func(b []byte) { b[0]++ },
		"an unknown flag":  func(b []byte) { b[1] |= 1 << 7 },
		"a part":           func(b []byte) { b[1] |= byte(memory.Part) },
		"status 0":         func(b []byte) { b[2], b[3] = 0, 0 },
		"status 65535":     func(b []byte) { b[2], b[3] = 255, 255 },
		"neither nor":      func(b []byte) { b[4] = 2 },
		"no URL":           func(b []byte) { binary.LittleEndian.PutUint32(b[lengths:], 0) },
		"a long URL":       func(b []byte) { binary.LittleEndian.PutUint32(b[lengths:], 1<<32-1) },
		"a long header":    func(b []byte) { binary.LittleEndian.PutUint32(b[lengths+4:], 1<<31) },
		"many tags":        func(b []byte) { binary.LittleEndian.PutUint32(b[lengths+20:], 1<<32-1) },
		"one tag more":     func(b []byte) { binary.LittleEndian.PutUint32(b[lengths+20:], 3) },
		"a tag twice":      func(b []byte) { copy(b[len(b)-4-3-8:], b[len(b)-4-3-16:len(b)-4-3-8]) },
		"a header in two":  func(b []byte) { b[bytes.Index(b, []byte("max-age"))] = '\n' },
		"all lengths full": func(b []byte) { copy(b[lengths:], bytes.Repeat([]byte{255}, 24)) },
	} {
		bad := someBlob(t)
		forge(bad)
		bad = sealed(bad)
		var e *memory.Entry
		var err error
		if n := testing.AllocsPerRun(1, func() { e, _, err = readBlob(bad, time.Now()) }); err == nil || n > 20 {
			t.Errorf("%s: %+v, %.0f allocations", name, e, n)
		}
	}
}

// TestBlobPurgedInTheFuture: what another gateway has purged is not fresh until its clock
// agrees, if that is ahead.
func TestBlobPurgedInTheFuture(t *testing.T) {
	now := time.Now()
	e := &memory.Entry{URL: "a.example/", Status: 200, FreshUntil: now.Add(2 * time.Hour).UnixNano()}
	e.Purge(now.Add(time.Hour))
	blob, _ := appendBlob(nil, e, 1)
	if got, _, err := readBlob(blob, now); err != nil || got.Purged() != now.UnixNano() {
		t.Errorf("purged at %d, not %d: %v", got.Purged(), now.UnixNano(), err)
	}
}

func FuzzBlob(f *testing.F) {
	f.Add(someBlob(f))
	f.Add(someBlob(f)[:blobHeadLen])
	f.Add([]byte{})
	small, _ := appendBlob(nil, &memory.Entry{URL: "a.example", Status: 404}, 0)
	f.Add(small)
	f.Fuzz(func(t *testing.T, blob []byte) {
		for _, b := range [][]byte{blob, sealed(blob)} {
			e, applied, err := readBlob(b, time.Unix(0, 1<<63-1))
			if err != nil {
				continue
			}
			again, ok := appendBlob(nil, e, applied)
			if !ok || !bytes.Equal(again, b) {
				t.Errorf("%q is read as %+v, of which is made %q", b, e, again)
			}
			s := memory.New(1 << 20)
			s.Add(e, 0, func(*memory.Entry) bool { return false }, func() bool { return true })
			e.CopyHeader(make(http.Header))
			s.Remove(e)
			if left := s.Stats(); left.Used != 0 || left.Tags != 0 {
				t.Errorf("%q leaves %+v", b, left)
			}
		}
	})
}

// inBlobs returns a cache that has been told what is stored in another by blobs alone,
// and a handler of it.
func inBlobs(t *testing.T, c *Cache, next http.Handler) (*Cache, http.Handler) {
	t.Helper()
	d, h := open(t, c.opts, next)
	var list []*memory.Entry
	c.store.Each(func(e *memory.Entry) bool { list = append(list, e); return false })
	slices.Reverse(list) // a URL's newest comes first
	for _, e := range list {
		blob, ok := appendBlob(nil, e, 0)
		if !ok {
			t.Fatalf("%s stays", e.URL)
		}
		back, _, err := readBlob(blob, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d.store.Add(back, 0, func(*memory.Entry) bool { return false }, func() bool { return true })
	}
	return d, h
}

// TestBlobDecidesAlike: a response that has been a blob is chosen, judged, validated,
// purged and explained as the one that it was made of, whenever that is asked.
func TestBlobDecidesAlike(t *testing.T) {
	pages := map[string]http.Header{
		"/fresh":    {"Cache-Control": {"max-age=60, stale-while-revalidate=30, stale-if-error=300"}, "Etag": {`"a"`}},
		"/must":     {"Cache-Control": {"max-age=60, must-revalidate"}, "Last-Modified": {"Fri, 27 Nov 2020 00:00:00 GMT"}},
		"/always":   {"Cache-Control": {"no-cache"}, "Etag": {`"a"`}},
		"/public":   {"Cache-Control": {"public, max-age=60, immutable"}},
		"/language": {"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}, "Content-Language": {"de"}},
		"/coded":    {"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Encoding"}},
		"/%7etags":  {"Cache-Control": {"max-age=60"}, "Cache-Tag": {"a,b"}},
		"/aged":     {"Cache-Control": {"max-age=60"}, "Age": {"20"}},
		"/private":  {"Cache-Control": {`max-age=60, private="X-Own"`}, "X-Own": {"own"}},
		"/rule":     {},
	}
	asks := [][]string{
		nil, {"Accept-Language", "de"}, {"Accept-Language", "en"}, {"Accept-Encoding", "gzip"}, {"Cookie", "currency=EUR"}, {"Cookie", "sid=1"},
		{"Authorization", "Basic x"}, {"Cache-Control", "no-cache"}, {"Cache-Control", "max-stale=20"}, {"Cache-Control", "only-if-cached"},
		{"If-None-Match", `"a"`}, {"Range", "bytes=1-2"},
	}
	opts := Options{Orders: everybody, Rules: Rules{
		Plan: func(r *http.Request) (p Plan) {
			if r.URL.Path == "/rule" {
				p.Key, p.Cookies = []string{"\x00\x01"}, []string{"currency"}
			}
			return p
		},
		Retention: func(r *http.Request, _ Head, v Retention) Retention {
			if r.URL.Path == "/rule" {
				v.Fresh, v.Tags = time.Minute, []string{"rule", "a"}
			}
			return v
		},
	}}
	synctest.Test(t, func(t *testing.T) {
		next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, values := range pages[r.URL.EscapedPath()] {
				w.Header()[name] = values
			}
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && r.URL.Path == "/coded" {
				w.Header().Set("Content-Encoding", "gzip")
			}
			time.Sleep(20 * time.Millisecond) // by the bubble's clock: what it costs to fetch
			fmt.Fprint(w, "page ", r.URL.Path, r.Header["Accept-Language"], r.Header["Cookie"])
		})
		c, before := open(t, opts, next)
		for path := range pages {
			for _, ask := range asks[:5] {
				get(before, "http://a.example"+path, ask...)
			}
		}
		d, after := inBlobs(t, c, next)
		if a, b := c.store.Stats(), d.store.Stats(); a.Count != b.Count || a.Count < 12 || a.Tags != b.Tags {
			t.Fatalf("stored are %+v, of %+v", b, a)
		}
		steps := []func(*Cache){
			func(*Cache) {},
			func(*Cache) { time.Sleep(30 * time.Second) },
			func(c *Cache) { c.Invalidate(t.Context(), Invalidation{Tags: []string{"a"}}) },
			func(c *Cache) { c.Invalidate(t.Context(), Invalidation{URL: "http://a.example/~tags", Hard: true}) },
			func(*Cache) { time.Sleep(40 * time.Second) },
			func(*Cache) { time.Sleep(100 * time.Second) },
			func(*Cache) { time.Sleep(time.Hour) },
		}
		compare := func(step int, before, after http.Handler) {
			for path := range pages {
				for _, ask := range asks {
					for _, method := range []string{"GET", "HEAD"} {
						r := httptest.NewRequest(method, "https://a.example"[:4+step%2]+"://a.example"+path, nil)
						for i := 0; i < len(ask); i += 2 {
							r.Header.Set(ask[i], ask[i+1])
						}
						want, got := health.Explain(before, r), health.Explain(after, r)
						if !reflect.DeepEqual(got, want) {
							t.Errorf("step %d: %s %s %q: %+v, not %+v", step, method, path, ask, got, want)
						}
						if want.Verdict != "hit" || want.Why != "" || slices.Contains(ask, "max-stale=20") {
							continue // it would be fetched, now or behind it, and be another then
						}
						if w, g := do(before, r), do(after, r); !reflect.DeepEqual(w.Header(), g.Header()) || w.Body.String() != g.Body.String() || w.Code != g.Code {
							t.Errorf("step %d: %s %s %q: %v %q, not %v %q", step, method, path, ask, g.Header(), g.Body, w.Header(), w.Body)
						}
					}
				}
			}
		}
		for i, step := range steps {
			compare(i, before, after)
			step(c)
			if i == 2 || i == 3 { // at the same time, by the one clock
				step(d)
			}
			_, again := inBlobs(t, c, next)
			compare(i, before, again)
		}
	})
}
