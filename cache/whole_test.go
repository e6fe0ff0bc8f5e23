package cache

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/foretier/foretier/internal/transit"
)

// Squid 528: half a page is stored as a whole one.
func TestHalfAPageIsNotStored(t *testing.T) {
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
func TestHalfAPageOfAReverseProxyIsNotStored(t *testing.T) {
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

// Souin 337: a handler that returns because it was cancelled leaves a blank
// page, which is stored.
func TestABlankPageIsNotStored(t *testing.T) {
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
