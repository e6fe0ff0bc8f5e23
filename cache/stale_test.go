package cache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

func TestGraceRefreshesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10, stale-while-revalidate=30"),
			answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				time.Sleep(time.Second)
				fmt.Fprintf(w, "answer %d", n)
			}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(11 * time.Second)
		begun := time.Now()
		for range 5 {
			want(t, get(h, "http://a.example/"), 200, "answer 1")
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited %v for a refresh", d)
		}
		time.Sleep(2 * time.Second)
		want(t, get(h, "http://a.example/"), 200, "answer 2")
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestStaleOnError(t *testing.T) {
	failures := map[string]func(w http.ResponseWriter, r *http.Request){
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"the tier's own error": func(w http.ResponseWriter, r *http.Request) {
			transit.Fail(w, r, 502, errors.New("refused"))
		},
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 1 {
						fail(w, r)
						return
					}
					w.Header().Set("Cache-Control", "max-age=10")
					io.WriteString(w, "good")
				}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Hour)
				want(t, get(h, "http://a.example/"), 200, "good")
				time.Sleep(24 * time.Hour)
				func() {
					defer func() { _ = recover() }()
					if w := get(h, "http://a.example/"); w.Code < 500 {
						t.Errorf("after ErrorGrace: got %d %s", w.Code, w.Body)
					}
				}()
			})
		})
	}
}

// TestWhatIsServedStaleIsNoFailure for the log, though its cause stands there.
func TestWhatIsServedStaleIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 1 {
				transit.Fail(w, r, 502, errors.New("out of order"))
				time.Sleep(time.Millisecond) // what stands in between may have more to do
				transit.From(r.Context()).Note("pool", note("a"))
				return
			}
			w.Header().Set("Cache-Control", "max-age=10")
			io.WriteString(w, "good")
		}
		var log testkit.Log
		_, h := open(t, Options{Logger: log.Logger()}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Hour)
		want(t, get(h, "http://a.example/"), 200, "good")
		if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=WARN msg=request part=Foretier ") ||
			!strings.Contains(line, ` status=200 cache="stale: `) || !strings.HasSuffix(line, " pool=a cause=\"out of order\"\n") {
			t.Errorf("logged %s", line)
		}
	})
}

// TestWhatAFetchNotesIsShown in the line of the request that led it, also if the answer
// stood before the fetch had ended.
func TestWhatAFetchNotesIsShown(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"validated": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"covered":   func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 502, errors.New("refused")) },
		"failed":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 1 {
						defer func() {
							time.Sleep(time.Millisecond) // the answer stands before this has ended
							transit.From(r.Context()).Note("pool", note("a"))
						}()
						answer(w, r)
						return
					}
					w.Header().Set("Cache-Control", "max-age=10")
					w.Header().Set("Etag", `"1"`)
					io.WriteString(w, "good")
				}
				_, h := open(t, Options{ErrorGrace: 2 * time.Hour}, b)
				get(h, "http://a.example/")
				time.Sleep(time.Hour) // of the bubble's: it is stale then
				if name == "failed" {
					time.Sleep(2 * time.Hour) // beyond ErrorGrace, so that nothing covers it
				}
				r, rec, _ := transit.Enter(httptest.NewRequest("GET", "http://a.example/", nil))
				func() {
					defer func() { _ = recover() }()
					h.ServeHTTP(httptest.NewRecorder(), r)
				}()
				var parts []string
				for part := range rec.Notes() {
					parts = append(parts, part)
				}
				if !slices.Contains(parts, "pool") {
					t.Errorf("only %v noted something", parts)
				}
			})
		})
	}
}

func TestSickBackendLengthensGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10")}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Hour)
		b.sick.Store(true)
		want(t, get(h, "http://a.example/"), 200, "answer 1")
	})
}

func TestFailureIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 1 {
				w.WriteHeader(503)
				return
			}
			w.Header().Set("Cache-Control", "max-age=10")
			io.WriteString(w, "good")
		}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(time.Minute)
		for range 100 {
			want(t, get(h, "http://a.example/"), 200, "good")
			time.Sleep(50 * time.Millisecond)
		}
		if n := b.calls.Load(); n < 5 || n > 7 {
			t.Errorf("%d calls in 5 s", n)
		}
	})
}

func TestEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(500 * time.Millisecond)
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		for range 10_000 {
			if w := get(h, "http://a.example/"); !strings.Contains(w.Header().Get("Cache-Status"), "; hit") {
				t.Fatalf("a visitor waited: %v", w.Header())
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := b.calls.Load(); n < 4 || n > 6 {
			t.Errorf("%d calls in 200 s", n)
		}
	})
}

func TestRefreshesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		b := &backend{header: control("max-age=10, stale-while-revalidate=600"), answer: func(http.ResponseWriter, *http.Request, int) {
			n := running.Add(1)
			most.Store(max(n, most.Load()))
			time.Sleep(time.Second)
			running.Add(-1)
		}}
		_, h := open(t, Options{}, b)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { get(h, fmt.Sprint("http://a.example/", i)) })
		}
		wg.Wait()
		most.Store(0)
		time.Sleep(20 * time.Second)
		for i := range 100 {
			get(h, fmt.Sprint("http://a.example/", i))
		}
		time.Sleep(5 * time.Second)
		if n := most.Load(); n != 16 {
			t.Errorf("%d refreshes at once", n)
		}
	})
}

// A refresh in the name of whoever happens to ask: the next visitor gets a
// page with that one's name on it, or the refresh is for nothing.
func TestARefreshIsInNobodysName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=10, stale-while-revalidate=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			fmt.Fprint(w, n, r.Header["Cookie"])
		}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/")
		time.Sleep(20 * time.Second)
		want(t, get(h, "http://a.example/", "Cookie", "sid=1"), 200, "1 []")
		synctest.Wait()
		want(t, get(h, "http://a.example/"), 200, "2 []")
	})
}

// TestARefreshThatFailsIsLogged, once and with its cause: nobody waits for it. Many
// are counted. A page that must not be stored any more is no failure.
func TestARefreshThatFailsIsLogged(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		cause  string // "": none is logged
	}{
		"the tier's own error": {func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 502, errors.New("refused")) }, `status=502 cause=refused`},
		"503":                  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, `status=503 cause="the backend answered 503"`},
		"500, not to be covered": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(500)
		}, `status=500 cause="the backend answered 500"`},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, `status=200 cause="cache: the response was cut off"`},
		"not stored": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			io.WriteString(w, "fresh")
		}, ""},
		"stored": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			io.WriteString(w, "fresh")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n > 30 {
						c.answer(w, r)
						return
					}
					w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=30")
					io.WriteString(w, "good")
				}
				var log testkit.Log
				_, h := open(t, Options{Logger: log.Logger()}, b)
				all := func() {
					for i := range 30 {
						want(t, get(h, fmt.Sprintf("http://a.example/%d", i)), 200, "good")
						synctest.Wait()
					}
				}
				all()
				time.Sleep(11 * time.Second)
				all()
				lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
				if c.cause == "" {
					if log.String() != "" {
						t.Errorf("logged %s", log.String())
					}
					return
				}
				if want := "level=WARN msg=\"refresh failed\" part=Foretier host=a.example target=/0 " + c.cause + " others=0"; len(lines) != 20 || !strings.HasSuffix(lines[0], want) {
					t.Errorf("%d lines: %s, want %s", len(lines), lines[0], want)
				}
				time.Sleep(2 * time.Second)
				want(t, get(h, "http://a.example/1"), 200, "good")
				synctest.Wait()
				if lines := log.String(); !strings.HasSuffix(lines, "others=10\n") {
					t.Errorf("the others: %s", lines[len(lines)-200:])
				}
			})
		})
	}
}
