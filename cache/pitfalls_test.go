package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// What goes wrong in other caches, one test each.

// Varnish 3461: while nobody knows that a URL is uncacheable, its visitors
// wait in line, one backend request after another.
func TestPitfallSerialWaitsOnUncacheable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "private")
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		all := func() time.Duration {
			begun := time.Now()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() { get(h, "http://a.example/") })
			}
			wg.Wait()
			return time.Since(begun)
		}
		if d := all(); d > 2*time.Second {
			t.Errorf("50 visitors took %v when it was not known", d)
		}
		if d := all(); d != time.Second {
			t.Errorf("50 visitors took %v when it was known", d)
		}
		time.Sleep(2*time.Minute + time.Second)
		if d := all(); d != 2*time.Second {
			t.Errorf("a mark older than two minutes: %v", d)
		}
	})
}

// Souin 276: a purge of a popular page sends everybody to the backend.
func TestPitfallHerdAfterPurge(t *testing.T) {
	for _, hard := range []bool{false, true} {
		t.Run(fmt.Sprint("hard=", hard), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
					time.Sleep(time.Second)
					fmt.Fprint(w, n)
				}}
				c, h := open(t, Options{}, b)
				get(h, "http://a.example/")
				if _, err := c.Invalidate(t.Context(), Invalidation{All: true, Hard: hard}); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() { get(h, "http://a.example/") })
				}
				wg.Wait()
				time.Sleep(2 * time.Second)
				if n := b.calls.Load(); n != 2 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

// The suite's other-authorization fails on nginx, Traffic Server and Fastly.
func TestPitfallAuthorizationShared(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/", "Authorization", "Basic x")
	want(t, get(h, "http://a.example/"), 200, "answer 2")
	b = &backend{header: control("max-age=60, public")}
	_, h = open(t, Options{}, b)
	get(h, "http://a.example/", "Authorization", "Basic x")
	want(t, get(h, "http://a.example/"), 200, "answer 1")
}

// Magento 9083: the client's cookie says which group's page it gets, and what
// it gets is stored for the group.
func TestPitfallClientSuppliedKeyWins(t *testing.T) {
	b := &backend{header: control("public, max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("X-Group", "general") // the session had expired
		fmt.Fprint(w, n)
	}}
	group := func(r *http.Request) string {
		c, err := r.Cookie("group")
		if err != nil {
			return "general"
		}
		return c.Value
	}
	_, h := open(t, Options{Rules: Rules{
		Plan: func(r *http.Request) Plan { return Plan{Key: []string{group(r)}} },
		Verdict: func(r *http.Request, head Head, v Verdict) Verdict {
			v.Store = v.Store && head.Header.Get("X-Group") == group(r)
			return v
		},
	}}, b)
	get(h, "http://a.example/", "Cookie", "group=wholesale")
	want(t, get(h, "http://a.example/", "Cookie", "group=wholesale"), 200, "2")
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "3")
	want(t, get(h, "http://a.example/", "Cookie", "group=wholesale"), 200, "4")
}

// Squid 528: half a page is stored as a whole one.
func TestPitfallTruncatedBodyStored(t *testing.T) {
	cut := map[string]func(w http.ResponseWriter, r *http.Request){
		"fewer bytes than stated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
		},
		"aborted": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		},
		"panicked": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			panic("a bug")
		},
		"an end that nobody can tell": func(w http.ResponseWriter, r *http.Request) {
			transit.From(r.Context()).Unproven = true
			io.WriteString(w, "half")
		},
	}
	for name, f := range cut {
		t.Run(name, func(t *testing.T) {
			b := &backend{header: control("max-age=60")}
			b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 {
					f(w, r)
					return
				}
				io.WriteString(w, "whole")
			}
			_, h := open(t, Options{Logger: slog.New(slog.DiscardHandler)}, b)
			func() {
				// What was sent must not look whole either.
				defer func() {
					if v := recover(); v != http.ErrAbortHandler && name != "an end that nobody can tell" {
						t.Errorf("the client was told that it is whole: %v", v)
					}
				}()
				get(h, "http://a.example/")
			}()
			want(t, get(h, "http://a.example/"), 200, "whole")
		})
	}
}

// httputil.ReverseProxy reports a truncated body only to a request that came
// from a server; a refresh on a bare context would store half a page.
func TestPitfallReverseProxyHidesTruncation(t *testing.T) {
	var calls atomic.Int32
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		w.Header().Set("Etag", `"x"`)
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		if n == 2 {
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.Close()
			return
		}
		fmt.Fprint(w, " and whole ", n)
	}))
	defer origin.Close()
	u, err := url.Parse(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	c, h := open(t, Options{}, proxy)
	want(t, get(h, "http://a.example/"), 200, "half and whole 1")
	want(t, get(h, "http://a.example/"), 200, "half and whole 1") // begins a refresh
	c.running.idle()
	want(t, get(h, "http://a.example/"), 200, "half and whole 1")
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

// idle waits for the fetches that run now.
func (r *running) idle() {
	r.mu.Lock()
	var all []*task
	for f := range r.fetches {
		all = append(all, f)
	}
	r.mu.Unlock()
	for _, f := range all {
		<-f.done
	}
}

// cache-handler 44: a panic in a goroutine of the cache's own ends the process.
func TestPitfallPanicInFetch(t *testing.T) {
	var log bytes.Buffer
	b := &backend{answer: func(http.ResponseWriter, *http.Request, int) { panic("a bug") }}
	_, h := open(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, b)
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("recovered %v", v)
			}
		}()
		get(h, "http://a.example/")
	}()
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "pitfalls_test.go") {
		t.Errorf("the log does not say what panicked and where: %s", log.String())
	}
}

// chi 993: a router's context is pooled and used again after ServeHTTP.
func TestPitfallPooledRouteContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type pooled struct{}
		b := &backend{header: control("max-age=1, stale-while-revalidate=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			time.Sleep(time.Second)
			if r.Context().Value(pooled{}) != nil {
				t.Error("the fetch holds a value of the client's request")
			}
			if r.PathValue("id") != "7" {
				t.Errorf("the fetch lost the path value: %q", r.PathValue("id"))
			}
		}}
		_, h := open(t, Options{}, b)
		for range 2 {
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			r.SetPathValue("id", "7")
			do(h, r.WithContext(context.WithValue(r.Context(), pooled{}, 1)))
			r.SetPathValue("id", "8") // reused
			r.URL.Path = "/other"
			r.Header.Set("X", "1")
			time.Sleep(3 * time.Second)
		}
	})
}

// Souin 337, 704, 849: the one who asks goes away, or stalls, and with it
// everybody who waits.
func TestPitfallLeaderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			time.Sleep(3 * time.Second)
			io.WriteString(w, "first half, ")
			w.(http.Flusher).Flush()
			time.Sleep(3 * time.Second)
			fmt.Fprint(w, "second half ", n)
		}}
		_, h := open(t, Options{}, b)
		for _, after := range []time.Duration{time.Second, 4 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			go func() {
				defer func() { _ = recover() }()
				do(h, httptest.NewRequestWithContext(ctx, "GET", "http://"+after.String()+".example/", nil))
			}()
			synctest.Wait()
			w := get(h, "http://"+after.String()+".example/")
			if !strings.HasPrefix(w.Body.String(), "first half, second half") {
				t.Errorf("leader gone after %v: %q", after, w.Body)
			}
			cancel()
		}
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestPitfallLeaderStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				<-r.Context().Done()
				w.WriteHeader(504)
				return
			}
			time.Sleep(time.Second)
			fmt.Fprint(w, n)
		}}
		_, h := open(t, Options{}, b)
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if w := get(h, "http://a.example/"); w.Code != 504 || time.Since(begun) != time.Minute {
				t.Errorf("the stalled one: %d after %v", w.Code, time.Since(begun))
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				want(t, get(h, "http://a.example/"), 200, "2")
				if d := time.Since(begun); d != 11*time.Second {
					t.Errorf("waited %v", d)
				}
			})
		}
		wg.Wait()
		if n := b.calls.Load(); n != 2 {
			t.Errorf("%d calls: one of those who wait takes over, not all", n)
		}
	})
}

// Varnish 2964: one slow client holds the fetch, and with it all others.
func TestPitfallSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := noise(2 << 20)
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			for p := whole; len(p) > 0; p = p[64<<10:] {
				w.Write(p[:64<<10])
			}
		}}
		_, h := open(t, Options{MaxBytes: 64 << 20}, b)
		var wg sync.WaitGroup
		wg.Go(func() {
			w := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
			if !bytes.Equal(w.Body.Bytes(), whole) {
				t.Error("the slow one got something else")
			}
		})
		synctest.Wait()
		begun := time.Now()
		if w := get(h, "http://a.example/"); !bytes.Equal(w.Body.Bytes(), whole) || time.Since(begun) != 0 {
			t.Errorf("the fast one took %v", time.Since(begun))
		}
		wg.Wait()
	})
}

type slowWriter struct{ *httptest.ResponseRecorder }

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Minute / 2)
	return w.ResponseRecorder.Write(p)
}

// Magento 40641: the memory of what is not to be stored grows without bound.
func TestPitfallMarkersEatMemory(t *testing.T) {
	var m markers
	now := time.Unix(1_700_000_000, 0)
	for key := range uint64(1 << 20) {
		m.set(key*0x9e3779b97f4a7c15, now.Add(time.Minute))
	}
	last := uint64(1<<20 - 1)
	if key := last * 0x9e3779b97f4a7c15; !m.has(key, now) || m.has(key, now.Add(time.Minute)) {
		t.Error("the last one is not marked, or for ever")
	}
	m.set(5<<32|1, now.Add(time.Minute))
	if m.has(6<<32|1, now) {
		t.Error("another key in the same slot is taken for it")
	}
	m.clear(6<<32 | 1)
	if !m.has(5<<32|1, now) {
		t.Error("another key's mark was taken off")
	}
	if m.clear(5<<32 | 1); m.has(5<<32|1, now) {
		t.Error("still marked")
	}
}

// cache-handler 118: the limit does not count what is on its way in.
func TestPitfallMemoryUnbounded(t *testing.T) {
	const limit = 4 << 20
	var c *Cache
	release := make(chan struct{})
	var peak atomic.Int64
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
		for range 8 {
			w.Write(make([]byte, 24<<10))
			if used := c.store.Stats().Used; used > peak.Load() {
				peak.Store(used)
			}
		}
		<-release
	}}
	c, h := open(t, Options{MaxBytes: limit}, b)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { get(h, fmt.Sprint("http://a.example/", i)) })
	}
	close(release)
	wg.Wait()
	if p := peak.Load(); p > limit || p < limit/2 {
		t.Errorf("%d bytes used of %d", p, limit)
	}
	for i := range 100 {
		get(h, fmt.Sprint("http://a.example/later/", i))
	}
	if s := c.store.Stats(); s.Used > limit || s.Used != s.Held {
		t.Errorf("at rest: %+v", s)
	}
}

// Pingora's PredictedResponseTooLarge: what is too large flushes the cache, or
// is tried again each time.
func TestPitfallBigObjectsFlush(t *testing.T) {
	for _, stated := range []bool{true, false} {
		t.Run(fmt.Sprint("length stated=", stated), func(t *testing.T) {
			whole := noise(1 << 20)
			b := &backend{header: control("max-age=60")}
			b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
				if r.URL.Path == "/small" {
					fmt.Fprint(w, n)
					return
				}
				if stated {
					w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
				}
				w.Write(whole)
			}
			c, h := open(t, Options{MaxBytes: 1 << 20}, b)
			get(h, "http://a.example/small")
			for range 2 {
				if w := get(h, "http://a.example/big"); !bytes.Equal(w.Body.Bytes(), whole) {
					t.Errorf("got %d bytes", w.Body.Len())
				}
			}
			w := get(h, "http://a.example/big")
			if got := w.Header().Get("Cache-Status"); !strings.Contains(got, "not to be stored lately") {
				t.Errorf("tried again: %s", got)
			}
			want(t, get(h, "http://a.example/small"), 200, "1")
			if s := c.store.Stats(); s.Count != 1 {
				t.Errorf("%d stored", s.Count)
			}
		})
	}
}

// CVE-2026-2836: a key without the host.
func TestPitfallKeyWithoutHost(t *testing.T) {
	same := [][2]string{
		{"http://a.example/", "http://A.Example:80/"},
		{"https://a.example/", "https://a.example:443/"},
	}
	different := [][2]string{
		{"http://a.example/", "http://b.example/"},
		{"http://a.example/", "https://a.example/"},
		{"http://a.example/", "http://a.example:8080/"},
		{"http://a.example/", "http://a.example:443/"},
		{"https://a.example/", "https://a.example:80/"},
		{"http://a.example/", "http://a.example:443:80/"},
		{"http://a.example/", "http://a.example./"},
		{"http://a.example/a", "http://a.example/A"},
		{"http://a.example/a", "http://a.example/a?"},
		{"http://a.example/a", "http://a.example/a?b"},
		{"http://a.example/a%2Fb", "http://a.example/a/b"},
		{"http://a.example/?a=1&b=2", "http://a.example/?b=2&a=1"},
	}
	for i, pair := range append(same, different...) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		for _, target := range pair {
			scheme, rest, _ := strings.Cut(target, "://")
			host, path, _ := strings.Cut(rest, "/")
			r := httptest.NewRequest("GET", scheme+"://x/"+path, nil)
			r.Host = host // as a client may send it
			do(h, r)
		}
		if one := b.calls.Load() == 1; one != (i < len(same)) {
			t.Errorf("%q: one response: %t", pair, one)
		}
	}
}

// CPDoS and kin: what is not in the key must not change what is stored.
func TestPitfallUnkeyedInput(t *testing.T) {
	t.Run("an error that states nothing", func(t *testing.T) {
		for _, status := range []int{400, 403, 413, 431, 500, 502, 503} {
			b := &backend{answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				w.Header().Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
				w.WriteHeader(status)
			}}
			_, h := open(t, Options{}, b)
			get(h, "http://a.example/")
			if get(h, "http://a.example/"); b.calls.Load() != 2 {
				t.Errorf("%d is stored", status)
			}
		}
	})
	t.Run("an error that states a long life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{header: control("max-age=86400"), answer: func(w http.ResponseWriter, _ *http.Request, n int) { w.WriteHeader(500) }}
			_, h := open(t, Options{}, b)
			get(h, "http://a.example/")
			time.Sleep(11 * time.Second)
			if get(h, "http://a.example/"); b.calls.Load() != 2 {
				t.Error("stored for longer than 10 s")
			}
		})
	})
	t.Run("an answer to somebody's fields that states a long life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, status := range []int{400, 401, 403, 412, 415, 416, 417, 431, 451} {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
					if len(r.Header["X-Custom"]) > 0 || r.Header["Referer"] != nil {
						w.WriteHeader(status)
						return
					}
					w.Write([]byte("page"))
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/", "X-Custom", strings.Repeat("a", 9000))
				want(t, get(h, "http://a.example/"), 200, "page")
				time.Sleep(61 * time.Second) // stale: nobody's error takes its place
				get(h, "http://a.example/", "Referer", "http://evil.example/")
				want(t, get(h, "http://a.example/"), 200, "page")
			}
		})
	})
	t.Run("GET with a body", func(t *testing.T) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		do(h, httptest.NewRequest("GET", "http://a.example/", strings.NewReader("q")))
		want(t, get(h, "http://a.example/"), 200, "answer 2")
	})
	t.Run("what a client says that it can make of a page", func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			fmt.Fprint(w, r.Header["Surrogate-Capability"])
		}}
		_, h := open(t, Options{}, b)
		want(t, get(h, "http://a.example/", "Surrogate-Capability", `evil="ESI/1.0"`), 200, `[Foretier="Surrogate/1.0"]`)
	})
	t.Run("what the key drops", func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			io.WriteString(w, r.URL.RequestURI()+" "+r.RequestURI+" "+r.Header.Get("Cookie"))
		}}
		_, h := open(t, Options{
			IgnoreCookies: []string{"_ga*"},
			Rules:         Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }},
		}, b)
		want(t, get(h, "http://a.example/?utm_source=<script>&a=1", "Cookie", "_ga=<script>"), 200, "/?a=1 /?a=1 ")
	})
}

// Souin 337: a handler that returns because it was cancelled leaves a blank
// page, which is stored.
func TestPitfallBlankPageStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=3600"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				<-r.Context().Done()
				return
			}
			io.WriteString(w, "page")
		}}
		_, h := open(t, Options{}, b)
		if w := get(h, "http://a.example/"); w.Code != 504 {
			t.Errorf("got %d", w.Code)
		}
		want(t, get(h, "http://a.example/"), 200, "page")
	})
}

// A refresh in the name of whoever happens to ask: the next visitor gets a
// page with that one's name on it, or the refresh is for nothing.
func TestPitfallRefreshInAVisitorsName(t *testing.T) {
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

// Souin 667: a part is stored as the whole. Tempesta 416: what HEAD brings is
// stored for GET.
func TestPitfallPartAndHeadStored(t *testing.T) {
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

// Both shops strip parameters by patterns that eat their neighbours.
func TestPitfallQueryStripping(t *testing.T) {
	q := Query{Drop: Tracking()}
	for in, out := range map[string]string{
		"":                                "",
		"basi=1&si=2":                     "basi=1&si=2",
		"utm_campaign=a+b&p=2":            "p=2",
		"p=2&utm_campaign=a+b":            "p=2",
		"a=%20x&gclid=1&b=&c":             "a=%20x&b=&c",
		"xgclid=1&gclidx=2":               "xgclid=1&gclidx=2",
		"%67clid=1&a=1":                   "a=1",
		"utm_=1&utm=2":                    "utm=2",
		"gclid=1":                         "",
		"_ga=1.2&_gat=1":                  "_gat=1",
		"a=1&&b=2":                        "a=1&&b=2",
		"gclid&a[]=1&a[]=2":               "a[]=1&a[]=2",
		"fbclid=x;a=1":                    "",
		"gad_source=1&gbraid=2&wbraid=3":  "",
		"msclkid=1&srsltid=2&product=%zz": "product=%zz",
	} {
		if got := q.apply(in); got != out {
			t.Errorf("%q: got %q, want %q", in, got, out)
		}
	}
	q = Query{Sort: true}
	if got := q.apply("b=2&a[]=2&a[]=1&c"); got != "a[]=2&a[]=1&b=2&c" {
		t.Errorf("sorted: %q", got)
	}
}

// Magento 6401: the tags are longer than a header may be.
func TestPitfallTagsTooLong(t *testing.T) {
	var tags []string
	for i := range 10_000 {
		tags = append(tags, fmt.Sprint("cat_p_", i))
	}
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "X-Magento-Tags": {strings.Join(tags, ",")}}}
	c, h := open(t, Options{}, b)
	for range 2 {
		if w := get(h, "http://a.example/"); len(w.Header()["X-Magento-Tags"]) != 0 {
			t.Error("the client gets the tags")
		}
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"cat_p_9999"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 2")
}

// storages 23, components-web-app 84: the tag index never forgets, or a purge
// takes neighbours with it.
func TestPitfallTagIndexRots(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Tag", "all, "+strings.TrimPrefix(r.URL.Path, "/"))
		fmt.Fprintf(w, "%2000d", n)
	}}
	c, h := open(t, Options{MaxBytes: 1 << 20}, b)
	for i := range 3000 {
		get(h, fmt.Sprint("http://a.example/t", i))
	}
	s := c.store.Stats()
	if s.Evictions == 0 || s.Tags > s.Count+1 {
		t.Errorf("after evictions: %d tags for %d responses, %d evicted", s.Tags, s.Count, s.Evictions)
	}
	if _, err := c.Invalidate(t.Context(), Invalidation{Tags: []string{"t2999"}, Hard: true}); err != nil {
		t.Fatal(err)
	}
	if left := c.store.Stats(); left.Count != s.Count-1 || left.Tags != s.Tags-1 {
		t.Errorf("one purged: %d of %d responses, %d of %d tags are left", left.Count, s.Count, left.Tags, s.Tags)
	}
}

// caddy-cache 18: events that are held back, and connections that cannot be
// taken over.
func TestPitfallEventsAndUpgrades(t *testing.T) {
	next := make(chan struct{})
	b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		if r.Header.Get("Upgrade") != "" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, "echo "+line)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			if err := rc.Flush(); err != nil {
				t.Error(err)
			}
			<-next
		}
		if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("the writer cannot be unwrapped: %v", err)
		}
	}}
	_, h := open(t, Options{}, b)
	srv := httptest.NewServer(h)
	defer srv.Close()
	for range 2 { // when it is not known, and when it is
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("got %q %v", line, err)
			}
			lines.ReadString('\n')
			next <- struct{}{}
		}
		res.Body.Close()
	}
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello\n")
	all, _ := io.ReadAll(conn)
	if !strings.HasSuffix(string(all), "\r\n\r\necho hello\n") {
		t.Errorf("got %q", all)
	}
}

// A middleware above adds to a header, and the next visitor gets it too.
func TestPitfallSharedHeaderSlices(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Link": {"<a>", "<b>"}, "X-One": {"1"}}}
	_, h := open(t, Options{}, b)
	get(h, "http://a.example/")
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://a.example/", nil))
		w.Header().Add("Link", "<mine>")
		w.Header().Add("X-One", "mine")
		w.Header()["X-Changed"] = []string{"mine"}
		w.Header()["Link"][0] = "changed"
	}
	w := get(h, "http://a.example/")
	if got := fmt.Sprint(w.Header()["Link"], w.Header()["X-One"], w.Header()["X-Changed"]); got != "[<a> <b>] [1] []" {
		t.Errorf("got %s", got)
	}
}

// victorspringer/http-cache: whoever knows the parameter may purge.
func TestPitfallOpenPurge(t *testing.T) {
	c, h := open(t, Options{}, &backend{header: control("max-age=60")})
	if _, err := c.PurgeHandler([]netip.Prefix{}); err == nil {
		t.Error("a purge handler for nobody was built")
	}
	purge, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	get(h, "http://a.example/")
	r := httptest.NewRequest("PURGE", "http://a.example/", nil)
	r.Header.Set("X-Forwarded-For", "127.0.0.1")
	if w := do(purge, r); w.Code != 403 {
		t.Errorf("a stranger: %d", w.Code)
	}
	want(t, get(h, "http://a.example/"), 200, "answer 1")
	// IPv4 that is written as IPv6 is IPv4, and a part of both is nothing.
	mapped, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")})
	if err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest("PURGE", "http://a.example/", nil)
	r.RemoteAddr = "192.0.2.1:1"
	if w := do(mapped, r); w.Code != 200 {
		t.Errorf("one who may: %d", w.Code)
	}
	if _, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("::ffff:0:0/90")}); err == nil {
		t.Error("a purge handler for a part of both was built")
	}
}

// A backend that compresses and forgets Vary: a client that asked for no coding
// gets one that it cannot read.
func TestPitfallCodingWithoutVary(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "coded")
			return
		}
		io.WriteString(w, "plain")
	}}
	_, h := open(t, Options{}, b)
	want(t, get(h, "http://a.example/", "Accept-Encoding", "gzip, br"), 200, "coded")
	want(t, get(h, "http://a.example/"), 200, "plain")
	want(t, get(h, "http://a.example/", "Accept-Encoding", "br,gzip"), 200, "plain") // which suits everybody
	if n := b.calls.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}
