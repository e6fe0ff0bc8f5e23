package cache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeadChangesNothing: what a HEAD brings may show what only that one sent,
// and says nothing that a GET would not say better.
func TestHeadChangesNothing(t *testing.T) {
	for name, change := range map[string]func(h http.Header){
		"what it reflects":   func(http.Header) {},
		"another body":       func(h http.Header) { h.Set("Etag", `"b"`) },
		"another length":     func(h http.Header) { h.Set("Content-Length", "1") },
		"no lifetime":        func(h http.Header) { h.Set("Cache-Control", "no-store") },
		"a longer lifetime":  func(h http.Header) { h.Set("Cache-Control", "max-age=3600") },
		"a cookie":           func(h http.Header) { h.Set("Set-Cookie", "sid=1") },
		"the page not there": func(h http.Header) { h.Set("X-Status", "410") },
	} {
		for _, age := range []time.Duration{time.Second, 15 * time.Second, time.Minute} { // fresh, in grace, stale
			t.Run(fmt.Sprint(name, age), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &backend{header: http.Header{"Cache-Control": {"max-age=10, stale-while-revalidate=20"}, "Etag": {`"a"`}}}
					b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
						w.Header().Set("X-Query", r.URL.RawQuery)
						if r.Method == "HEAD" {
							change(w.Header())
							if w.Header().Get("X-Status") != "" {
								w.WriteHeader(410)
							}
							return
						}
						if r.Header.Get("If-None-Match") != "" {
							w.WriteHeader(304)
							return
						}
						io.WriteString(w, "page")
					}
					_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
					get(h, "http://a.example/")
					time.Sleep(age)
					do(h, httptest.NewRequest("HEAD", "http://a.example/?utm_source=evil", nil))
					synctest.Wait()
					w := get(h, "http://a.example/")
					want(t, w, 200, "page")
					if w.Header().Get("X-Query") != "" || w.Header().Get("Etag") != `"a"` || w.Header().Get("Set-Cookie") != "" || !strings.HasPrefix(w.Header().Get("Cache-Control"), "max-age=10,") {
						t.Errorf("the page has what the HEAD brought: %v", w.Header())
					}
				})
			})
		}
	}
}

func TestPostThatIsAGet(t *testing.T) {
	for location, want := range map[string]string{
		"/x": "answer 2", "http://a.example/x": "answer 2", "": "answer 2",
		"/y": "answer 3", "http://b.example/x": "answer 3", "https://a.example/x": "answer 3",
	} {
		b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "Content-Location": {location}}}
		_, h := open(t, Options{}, b)
		get(h, "http://a.example/x")
		do(h, httptest.NewRequest("POST", "http://a.example/x", strings.NewReader("x")))
		if w := get(h, "http://a.example/x"); w.Body.String() != want {
			t.Errorf("Content-Location %q: got %s, want %s", location, w.Body, want)
		}
	}
}

// caddy-cache 18: events that are held back, and connections that cannot be
// taken over.
func TestEventsAndUpgrades(t *testing.T) {
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
