package esi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/internal/testkit"
)

// TestSideBySide: fragments are fetched side by side, eight at a time, and sent in
// order.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		var page, want strings.Builder
		b := &backend{own: map[string]http.HandlerFunc{}}
		for i := range 40 {
			fmt.Fprintf(&page, `<esi:include src="/%d"/>,`, i)
			fmt.Fprintf(&want, "%d,", i)
			b.own[fmt.Sprint("/", i)] = func(w http.ResponseWriter, r *http.Request) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				time.Sleep(time.Duration(1+(i*7)%5) * time.Second)
				io.WriteString(w, r.URL.Path[1:])
			}
		}
		b.pages = map[string]string{"/esi": page.String()}
		began := time.Now()
		w := get(newProcessor(t, esi.Options{}).Handler(b), "/esi")
		if w.Body.String() != want.String() {
			t.Errorf("got %q", w.Body)
		}
		if took := time.Since(began); took > 25*time.Second { // 40 fragments of 3 s each, 8 at a time
			t.Errorf("it took %v", took)
		}
		if most.Load() < 8 || most.Load() > 9 { // and the one whose turn it is
			t.Errorf("%d were fetched side by side", most.Load())
		}
	})
}

// TestWhatIsThereGoesOut while the rest is waited for.
func TestWhatIsThereGoesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		template, first, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
		b := &backend{own: map[string]http.HandlerFunc{
			"/esi": func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `a<esi:include src="/1"/>b<esi:include src="/2"/>c`)
				<-template
				io.WriteString(w, "d")
			},
			"/1": func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "1")
				<-first
				io.WriteString(w, "!")
			},
			"/2": func(w http.ResponseWriter, _ *http.Request) {
				<-second
				io.WriteString(w, "2")
			},
		}}
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			newProcessor(t, esi.Options{Wait: time.Hour}).Handler(b).ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/esi", nil))
		}()
		sees := func(want string) {
			t.Helper()
			time.Sleep(time.Second) // on the bubble's clock: everybody waits
			synctest.Wait()
			if got := w.Body.String(); got != want || !w.Flushed {
				t.Errorf("the client has %q, flushed %t, want %q", got, w.Flushed, want)
			}
			w.Flushed = false
		}
		sees("a1")
		close(first)
		sees("a1!b")
		close(second)
		sees("a1!b2c")
		close(template)
		<-done
		if got := w.Body.String(); got != "a1!b2cd" {
			t.Errorf("the page is %q", got)
		}
	})
}

// TestSlowFragments are given up: for alt, if there is one.
func TestSlowFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		b := &backend{pages: map[string]string{
			"/esi":  `a<esi:include src="/hangs"/>b<esi:include src="/hangs2" alt="/menu"/>c<esi:include src="/hangs2" alt="/hangs"/>d`,
			"/menu": "M",
		}, own: map[string]http.HandlerFunc{"/hangs": hangs, "/hangs2": hangs}}
		log := new(testkit.Log)
		began := time.Now()
		w := get(newProcessor(t, esi.Options{Logger: log.Logger()}).Handler(b), "/esi")
		if want := "a" + missing + "bMc" + missing + "d"; w.Body.String() != want {
			t.Errorf("got %q, want %q", w.Body, want)
		}
		if took := time.Since(began); took < 40*time.Second || took > 41*time.Second {
			t.Errorf("it took %v", took)
		}
		log.Wants(t, "Options.Wait")
	})
}

// TestAFragmentThatStallsCutsOffThePage.
func TestAFragmentThatStallsCutsOffThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{pages: map[string]string{"/esi": `a<esi:include src="/stalls"/>b`}, own: map[string]http.HandlerFunc{
			"/stalls": func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "S")
				<-r.Context().Done()
			}}}
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("the page ends with %v", v)
			}
		}()
		get(newProcessor(t, esi.Options{}).Handler(b), "/esi")
	})
}

// TestAClientThatLeaves has its fragments cancelled, nobody is told that anything is
// missing, and nothing is held.
func TestAClientThatLeaves(t *testing.T) {
	var began sync.WaitGroup
	began.Add(3)
	hangs := func(_ http.ResponseWriter, r *http.Request) {
		began.Done()
		<-r.Context().Done()
	}
	b := &backend{own: map[string]http.HandlerFunc{
		"/esi": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `a<esi:include src="/esi/outer"/><esi:include src="/2"/>`)
			hangs(w, r)
		},
		"/esi/outer": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<esi:include src="/1"/>`) },
		"/1":         hangs, "/2": hangs,
	}}
	log := new(testkit.Log)
	p := newProcessor(t, esi.Options{Logger: log.Logger()})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		began.Wait()
		leave()
	}()
	w := httptest.NewRecorder()
	p.Handler(b).ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/esi", nil).WithContext(ctx))
	if got := w.Body.String(); got != "a" {
		t.Errorf("got %q", got)
	}
	if s := log.String(); strings.Contains(s, "WARN") || strings.Contains(s, "ERROR") || metric(p, "fragments_failed_total") != 0 {
		t.Errorf("the log has %s", s)
	}
}

// A shutter takes so many bytes, and then no more.
type shutter struct {
	*httptest.ResponseRecorder
	room int
}

var errShut = errors.New("the client has gone")

func (s *shutter) Write(b []byte) (int, error) {
	if s.room -= len(b); s.room < 0 {
		return 0, errShut
	}
	return s.ResponseRecorder.Write(b)
}

// TestAClientThatTakesNoMore ends what is sent to it.
func TestAClientThatTakesNoMore(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	}
	b := &backend{pages: map[string]string{"/esi": `a<esi:include src="/endless"/>b`}, own: map[string]http.HandlerFunc{
		"/endless": endless,
		"/esi/endless": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `<esi:include src="/menu"/>`)
			endless(w, r)
		},
		"/esi/plain": endless,
	}}
	h := newProcessor(t, esi.Options{MaxBytes: 1 << 30}).Handler(b)
	for _, path := range []string{"/esi", "/esi/endless", "/esi/plain"} {
		h.ServeHTTP(&shutter{httptest.NewRecorder(), 100_000}, httptest.NewRequest("GET", "http://shop.example"+path, nil))
	}
}

// TestLargeParts: what does not fit into what is held waits for its turn, and nobody
// waits in a circle, however parts are in one another.
func TestLargeParts(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 100<<10) // 1.6 MB
	b := &backend{pages: map[string]string{"/large": large, "/menu": "M"}}
	b.pages["/esi"] = strings.Repeat(`[<esi:include src="/esi/mid"/>]`, 9) + large + `<esi:include src="/menu"/>`
	b.pages["/esi/mid"] = `(<esi:include src="/menu"/>` + large[:700_000] + `<esi:include src="/esi/low"/>)`
	b.pages["/esi/low"] = `{<esi:include src="/large"/><esi:include src="/menu"/>}`
	mid := "[(M" + large[:700_000] + "{" + large + "M})]"
	want := strings.Repeat(mid, 9) + large + "M"
	h := newProcessor(t, esi.Options{MaxBytes: 1 << 30, Wait: time.Hour}).Handler(b)
	for range 2 {
		if got := get(h, "/esi").Body.String(); got != want {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
	}
}

// TestWhatIsSentIsHeldNoLonger.
func TestWhatIsSentIsHeldNoLonger(t *testing.T) {
	p := newProcessor(t, esi.Options{})
	sent := make(chan struct{})
	b := &backend{pages: map[string]string{"/menu": "M", "/esi": `<esi:include src="/menu"/>` + strings.Repeat("x", 3<<20) + `!<esi:include src="/last"/>`}, own: map[string]http.HandlerFunc{
		"/last": func(http.ResponseWriter, *http.Request) {
			<-sent
			if got := metric(p, "memory_used_bytes"); got > 1000 {
				t.Errorf("%v bytes are held", got)
			}
		},
	}}
	p.Handler(b).ServeHTTP(&notifier{httptest.NewRecorder(), "!", sent}, httptest.NewRequest("GET", "http://shop.example/esi", nil))
}

// TestManyPagesAtOnce share what may be held, and all are whole.
func TestManyPagesAtOnce(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 40<<10) // 640 KiB
	b := &backend{pages: map[string]string{"/large": large, "/esi": strings.Repeat(`<esi:include src="/large"/>`, 5)}}
	h := newProcessor(t, esi.Options{Wait: time.Hour}).Handler(b) // however busy the machine
	var wg sync.WaitGroup
	for range 24 { // which could hold more than the 16 MiB of a client
		wg.Go(func() {
			if got := get(h, "/esi").Body.Len(); got != 5*len(large) {
				t.Errorf("got %d bytes", got)
			}
		})
	}
	wg.Wait()
}
