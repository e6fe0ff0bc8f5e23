package balancer

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

type connKey struct{}

// perConn returns a server that gives h a value for each connection, over
// HTTP/2 as well.
func perConn(t *testing.T, tls bool, h func(conn *sync.Map, w http.ResponseWriter, r *http.Request)) *httptest.Server {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(r.Context().Value(connKey{}).(*sync.Map), w, r)
	}))
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, new(sync.Map))
	}
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetHTTP2(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.EnableHTTP2 = true
	if tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// Backends that take a connection for a visitor: whoever asks next, or at the
// same time, is not taken for the one who has logged in.
func TestLoginIsNotTheNextVisitors(t *testing.T) {
	for _, scheme := range []string{"http", "h2c", "https"} {
		t.Run(scheme, func(t *testing.T) {
			var p *Pool
			srv := perConn(t, scheme == "https", func(conn *sync.Map, w http.ResponseWriter, r *http.Request) {
				if who := r.Header.Get("Authorization"); who != "" {
					conn.Store("user", who)
				}
				if r.URL.Path == "/slow" { // and meanwhile others ask
					for range 3 {
						if got := get(p, "GET", "/", nil).Body.String(); got != "anonymous" {
							t.Errorf("a visitor beside it is %q", got)
						}
					}
				}
				user, ok := conn.Load("user")
				if !ok {
					user = "anonymous"
					w.Header().Set("WWW-Authenticate", "Negotiate")
				}
				fmt.Fprint(w, user)
			})
			opts := Options{}
			if scheme == "https" {
				opts.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				opts.TLS.NextProtos = nil
			}
			_, addr, _ := strings.Cut(srv.URL, "://")
			p = newPool(t, Backends(scheme+"://"+addr), opts)
			for _, c := range []struct{ path, as, want string }{
				{"/", "", "anonymous"},
				{"/", "NTLM anna", "NTLM anna"},
				{"/", "", "anonymous"},
				{"/slow", "Negotiate berta", "Negotiate berta"},
				{"/", "", "anonymous"},
				{"/", "", "anonymous"},
			} {
				w := get(p, "GET", c.path, nil, func(r *http.Request) {
					if c.as != "" {
						r.Header.Set("Authorization", c.as)
					}
				})
				if w.Code != 200 || w.Body.String() != c.want {
					t.Errorf("%s %s: got %d %q, want %q", c.path, c.as, w.Code, w.Body, c.want)
				}
			}
		})
	}
}

// An answer over HTTP/2 that offers such a login retires its connection.
func TestOfferedLoginRetiresTheConnection(t *testing.T) {
	var mu sync.Mutex
	seen := map[*sync.Map]bool{}
	offer := false
	srv := perConn(t, false, func(conn *sync.Map, w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[conn] = true
		if offer {
			w.Header().Set("WWW-Authenticate", "NTLM")
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	p := newPool(t, Backends(strings.Replace(srv.URL, "http", "h2c", 1)), Options{})
	for _, offered := range []bool{false, false, true, true, false} {
		mu.Lock()
		offer = offered
		mu.Unlock()
		_, _ = io.Copy(io.Discard, get(p, "GET", "/", nil).Body)
	}
	if len(seen) != 3 {
		t.Errorf("%d connections for five answers of which two offered a login, want 3", len(seen))
	}
}

// A user's own transport is told to close the connection.
func TestLoginOverAnotherTransport(t *testing.T) {
	srv := perConn(t, false, func(conn *sync.Map, w http.ResponseWriter, r *http.Request) {
		if r.Header["Authorization"] != nil {
			conn.Store("user", true)
		}
		_, ok := conn.Load("user")
		fmt.Fprint(w, ok)
	})
	p := newPool(t, Backends(srv.URL), Options{Transport: func(Backend) http.RoundTripper { return &http.Transport{} }})
	for _, as := range []string{"", "ntlm x", ""} {
		w := get(p, "GET", "/", nil, func(r *http.Request) {
			if as != "" {
				r.Header.Set("Authorization", as)
			}
		})
		if got := w.Body.String(); got != fmt.Sprint(as != "") {
			t.Errorf("as %q: logged in: %s", as, got)
		}
	}
}
