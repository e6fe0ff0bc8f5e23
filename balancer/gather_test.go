package balancer

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// empty fails the test if p still holds something of a request. It waits for that
// as only a synctest bubble can.
func empty(t *testing.T, p *Pool) {
	t.Helper()
	synctest.Wait()
	if m, a, d, c := p.depot.memory.Held(), p.depot.answers.Held(), p.depot.disk.Held(), p.coming.Held(); m != 0 || a != 0 || d != 0 || c != 0 {
		t.Errorf("afterwards %d and %d bytes are held in memory, %d on the disk, %d places by what comes", m, a, d, c)
	}
}

// TestSlowUploadsTakeNoPlace: however they are announced, one visitor's uploads
// of which nothing comes leave the pool to the others, and hold next to nothing.
func TestSlowUploadsTakeNoPlace(t *testing.T) {
	cases := map[string]struct {
		length int64
		edit   func(*http.Request)
	}{
		"long":           {2_000_000, func(*http.Request) {}},
		"short":          {900_000, func(*http.Request) {}},
		"no length":      {-1, func(*http.Request) {}},
		"gRPC":           {-1, header("Content-Type", "application/grpc")},
		"gRPC of length": {2_000_000, header("Content-Type", "application/grpc")},
		"unbuffered":     {900_000, header("X-Accel-Buffering", "no")},
		"for events":     {900_000, header("Accept", "text/event-stream")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						w.WriteHeader(http.StatusBadRequest)
					}
				}), Options{Limits: Limits{InFlight: 4, Queue: -1}, Spool: Spool{Dir: t.TempDir()}})
				var feeds []*io.PipeWriter
				done := make(chan int)
				for range 24 {
					body, feed := io.Pipe()
					feeds = append(feeds, feed)
					go func() {
						done <- get(p, "POST", "/", body, from(1), c.edit, func(r *http.Request) { r.ContentLength = c.length }).Code
					}()
					go func() { _, _ = feed.Write([]byte("x")) }()
				}
				time.Sleep(time.Minute)
				for range 3 { // at once: one place is all that the uploads have
					go func() { done <- get(p, "GET", "/", nil, from(2)).Code }()
				}
				for range 3 {
					if code := <-done; code != 200 {
						t.Errorf("another visitor's page: %d", code)
					}
				}
				if m := p.depot.memory.Held(); m > 24*spoolFirst {
					t.Errorf("%d bytes are held of 24 that came", m)
				}
				for _, feed := range feeds {
					_ = feed.CloseWithError(io.ErrUnexpectedEOF)
				}
				for range feeds {
					if code := <-done; code == 200 {
						t.Error("an upload that broke off was taken for whole")
					}
				}
				empty(t, p)
			})
		})
	}
}

// TestALongUploadIsWhole, although it has been on the disk, and no backend was
// held by it before.
func TestALongUploadIsWhole(t *testing.T) {
	for _, n := range []int{spoolEach - 1, spoolEach, spoolEach + 1, 5 << 20} {
		for _, known := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				sent := filled(n)
				var got []byte
				p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) }),
					Options{Spool: Spool{Dir: t.TempDir()}})
				w := get(p, "POST", "/", io.MultiReader(bytes.NewReader(sent)), func(r *http.Request) {
					if r.ContentLength = -1; known {
						r.ContentLength = int64(n)
					}
				})
				if w.Code != 200 || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes, length known: %v: got %d, the backend %d bytes", n, known, w.Code, len(got))
				}
				empty(t, p)
			})
		}
	}
}

// TestUploadsWithoutRoom: of a visitor's uploads that cannot be kept any more few
// go on, the rest is refused, and those of others are not touched.
func TestUploadsWithoutRoom(t *testing.T) {
	for name, spool := range map[string]Spool{"none allowed": {Bytes: -1}, "no such directory": {Dir: "/nonexistent"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
					Options{Limits: Limits{InFlight: 16}, Spool: spool})
				done := make(chan int, 8)
				for range 8 {
					go func() {
						body := io.MultiReader(bytes.NewReader(filled(2<<20)), later{time.Minute}, bytes.NewReader([]byte("x")))
						done <- get(p, "POST", "/", body, from(1), func(r *http.Request) { r.ContentLength = 2<<20 + 1 }).Code
					}()
				}
				time.Sleep(time.Second)
				if n := p.Backends()[0].InFlight; n != 2 {
					t.Errorf("%d of 16 places are held, want an eighth", n)
				}
				if w := get(p, "POST", "/", bytes.NewReader(filled(900<<10)), from(2)); w.Code != 200 {
					t.Errorf("another visitor's upload: %d", w.Code)
				}
				codes := map[int]int{}
				for range 8 {
					codes[<-done]++
				}
				if codes[200] != 2 || codes[503] != 6 {
					t.Errorf("got %v", codes)
				}
				empty(t, p)
			})
		})
	}
}

// TestADialogueGoesOn: what has no length is answered while it comes.
func TestADialogueGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			buf := make([]byte, 1)
			for {
				if _, err := r.Body.Read(buf); err != nil {
					return
				}
				_, _ = w.Write(bytes.ToUpper(buf))
				_ = http.NewResponseController(w).Flush()
			}
		}), Options{Limits: Limits{InFlight: 8}})
		body, feed := io.Pipe()
		go func() { _, _ = feed.Write([]byte("a")) }()
		r, _ := http.NewRequest("POST", "http://shop.example/", body)
		r.ContentLength = -1
		res, err := p.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1)
		for _, say := range "abc" {
			if say != 'a' {
				_, _ = feed.Write([]byte(string(say)))
			}
			if _, err := io.ReadFull(res.Body, buf); err != nil || buf[0] != byte(say)-'a'+'A' {
				t.Errorf("said %c, got %s, %v", say, buf, err)
			}
		}
		_ = feed.Close()
		if _, err := res.Body.Read(buf); err != io.EOF {
			t.Error(err)
		}
		_ = res.Body.Close()
		empty(t, p)
	})
}

// noted is a rule's turn that takes note of what it is told.
type noted struct {
	mu         sync.Mutex
	said       []string // guarded by mu
	full, busy bool     // no place afterwards, and none before the body is there
}

func (t *noted) say(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, what)
}

func (t *noted) Pause()  { t.say("pause") }
func (t *noted) Whole()  { t.say("whole") }
func (t *noted) Stream() { t.say("stream") }
func (t *noted) Resume(early bool) bool {
	if early {
		t.say("early")
		return !t.busy
	}
	t.say("resume")
	return !t.full
}

// TestARulesPlaceIsGivenUpForABody, and is had again before a backend is picked.
func TestARulesPlaceIsGivenUpForABody(t *testing.T) {
	const late = time.Minute
	cases := map[string]struct {
		full, busy bool
		body       func() io.Reader
		length     int64
		terms      transit.Terms
		want       int
		said       []string
	}{
		"none":               {body: func() io.Reader { return nil }, want: 200},
		"at once":            {body: func() io.Reader { return strings.NewReader("order") }, length: 5, want: 200, said: []string{"pause", "resume"}},
		"late":               {body: func() io.Reader { return io.MultiReader(later{late}, strings.NewReader("order")) }, length: 5, want: 200, said: []string{"pause", "resume"}},
		"late, and no place": {full: true, body: func() io.Reader { return strings.NewReader("order") }, length: 5, want: 429, said: []string{"pause", "resume"}},
		"it breaks off":      {body: func() io.Reader { return failing{io.ErrUnexpectedEOF} }, length: 5, want: 499, said: []string{"pause"}},
		"a dialogue":         {body: func() io.Reader { return io.MultiReader(later{late}, strings.NewReader("order")) }, length: -1, want: 200, said: []string{"pause", "early", "resume", "whole"}},
		"too many of them":   {busy: true, body: func() io.Reader { return io.MultiReader(later{late}, strings.NewReader("order")) }, length: -1, want: 200, said: []string{"pause", "early", "resume"}},
		"a rule of streams":  {body: func() io.Reader { return io.MultiReader(later{late}, strings.NewReader("order")) }, length: 5, terms: transit.Terms{Streams: true}, want: 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) {
					asked++
					_, _ = io.Copy(io.Discard, r.Body)
				}), Options{Limits: Limits{InFlight: 8}})
				ctx, rec := transit.With(t.Context())
				turn := &noted{full: c.full, busy: c.busy}
				rec.Turn, rec.Terms = turn, c.terms
				w := get(p, "POST", "/", c.body(), func(r *http.Request) {
					*r = *r.WithContext(ctx)
					r.ContentLength = c.length
				})
				synctest.Wait()
				turn.mu.Lock()
				defer turn.mu.Unlock()
				if w.Code != c.want || !slices.Equal(turn.said, c.said) {
					t.Errorf("got %d, the rule was told %v, want %d, %v", w.Code, turn.said, c.want, c.said)
				}
				if again := w.Header().Get("Retry-After"); (w.Code == 429) != (again == "1") || asked != map[bool]int{true: 1}[w.Code == 200] {
					t.Errorf("got %d: Retry-After %q, the backend was asked %d times", w.Code, again, asked)
				}
				empty(t, p)
				noneHeld(t, p)
			})
		})
	}
}
