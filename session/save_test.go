package session_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// TestALateResponseSetsNoOldCookie: neither a request that was under
// way, nor one that comes with a retired id, sets a cookie.
func TestALateResponseSetsNoOldCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for path, late := range map[string]int{"/login?user=ann": http.StatusConflict, "/logout": http.StatusOK} {
			m := manager(t, session.Memory(), session.Options{})
			b := newBrowser(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
				"/slow": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
					err := add(s, "slow")
					time.Sleep(10 * time.Second)
					answer(w, "slow", err)
				},
			})))
			b.do("POST", "/add?sku=tea")
			old := b.with()
			slow := make(chan *httptest.ResponseRecorder)
			go func() { slow <- old.with().do("POST", "/slow") }()
			synctest.Wait()
			if w := b.do("POST", path); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Fatalf("%s: %d %v", path, w.Code, w.Header())
			}
			if w := <-slow; w.Code != late || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: under way: %d, %v", path, w.Code, w.Header())
			}
			time.Sleep(49 * time.Second)
			if w := old.with().do("POST", "/add?sku=x"); w.Code != late || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: 59 s later: %d, %v", path, w.Code, w.Header())
			}
			if w := old.with().do("GET", "/whoami"); w.Code != http.StatusOK || body(w) != `""` || len(w.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: a look with a retired id: %d %s", path, w.Code, body(w))
			}
			time.Sleep(2 * time.Second) // the tombstone is gone: a new session
			if w := old.with().do("POST", "/add?sku=x"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) != 1 {
				t.Errorf("%s: 61 s later: %d, %v", path, w.Code, w.Header())
			}
			want := "null"
			if late == http.StatusConflict {
				want = `{"tea":1}`
			}
			if got := body(b.do("GET", "/read")); got != want {
				t.Errorf("%s: then %s", path, got)
			}
		}
	})
}

// TestTheCookieComesWithTheHeader: whatever sends the header first, the cookie is
// in it; what is only informational is not the header.
func TestTheCookieComesWithTheHeader(t *testing.T) {
	firsts := map[string]func(http.ResponseWriter){
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("x")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "x") },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"controller":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		"ReadFrom":    func(w http.ResponseWriter) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"nothing":     func(http.ResponseWriter) {},
	}
	for name, first := range firsts {
		t.Run(name, func(t *testing.T) {
			m := manager(t, session.Memory(), session.Options{AllowInsecure: true})
			late := make(chan error, 1)
			srv := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				w.Header().Set("Link", "</a.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				if err := s.Set("a", 1); err != nil {
					t.Errorf("Set after 103: %v", err)
				}
				first(w)
				late <- s.Renew()
			})))
			defer srv.Close()
			hints := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if hints++; h.Get("Set-Cookie") != "" {
					t.Error("a cookie in 103")
				}
				return nil
			}})
			req, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if len(res.Cookies()) != 1 || hints != 1 {
				t.Errorf("cookies %v, %d hints", res.Header["Set-Cookie"], hints)
			}
			if err, want := <-late, name != "nothing"; errors.Is(err, session.ErrBegun) != want {
				t.Errorf("Renew after the first byte: %v", err)
			}
		})
	}
}

// TestHijack: a handler can take the connection over; the session is
// saved by then and its cookie in the header that the handler may write.
func TestHijack(t *testing.T) {
	store := session.Memory()
	m := manager(t, store, session.Options{AllowInsecure: true})
	after := make(chan error, 1)
	srv := httptest.NewServer(m.Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/upgrade": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			if err := s.Set("a", 1); err != nil {
				t.Error(err)
			}
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			defer conn.Close()
			res := http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
			_ = res.Write(rw)
			_ = rw.Flush()
			_ = s.Set("a", 2)
			after <- s.Save()
		},
		"/a": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, _, err := session.Value[int](s, "a")
			answer(w, v, err)
		},
	})))
	defer srv.Close()
	conn := testkit.Dial(t, srv.Listener.Addr().String())
	defer conn.Close()
	io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 || len(res.Cookies()) != 1 {
		t.Fatalf("got %d, %v", res.StatusCode, res.Header)
	}
	if err := <-after; err != nil {
		t.Errorf("Save on a hijacked connection: %v", err)
	}
	req, err := http.NewRequest("GET", srv.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(res.Cookies()[0])
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "2\n" {
		t.Errorf("got %s", got)
	}
}

// TestADisconnectCancelsNoSave: what a client asked for is saved even
// if it does not wait for the answer.
func TestADisconnectCancelsNoSave(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBrowser(manager(t, open(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
			"/leave": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
				err := add(s, "left")
				cancel()
				answer(w, "left", err)
			},
		})))
		b.do("POST", "/add?sku=tea")
		r := httptest.NewRequestWithContext(ctx, "POST", "https://shop.example/leave", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: b.cookies["__Host-sid"]})
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		if got := body(b.do("GET", "/read")); got != `{"left":1,"tea":1}` {
			t.Errorf("got %s", got)
		}
	})
}
