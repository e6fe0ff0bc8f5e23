package foretier_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A hostile request is as large as the edge lets one be.
type hostile struct {
	path, query string
	header      http.Header
}

// fill repeats s while there is room.
func fill(s string, room int) string { return strings.Repeat(s, room/len(s)) }

// hostiles are what costs most of each kind, as far as anybody has thought of it.
func hostiles() map[string]hostile {
	const targetRoom, headerRoom = 7950, 32000
	out := map[string]hostile{}
	for _, p := range []string{"%41", "%2541", "%252541", "/", "/.", "/a/..", "/;", ";/", "/a;b", "%2f", "%252f", "%25252f", "/%2e%2e", "/x/..", ";%252561", "%c0%af", "\xe9", "{", "[", "//a", "/a.php", "/a.php;", "/%61.php", ".php/", "/a/..;/", "/.;", ".", "/admin;", "/a", "/%20admin"} {
		out["path "+p] = hostile{path: "/p" + fill(p, targetRoom)}
	}
	out["path of readings"] = hostile{path: "//h/" + fill("a", 3000) + fill("/x/..", 3900) + ";%252561"}
	for _, q := range []string{"&", "a&", "a=1&", "utm_a=1&", "%61&", "%", "+&", "_ga&", ";", "a=a&a=", "%zz&", "%2541&"} {
		out["query "+q] = hostile{path: "/q", query: fill(q, targetRoom)}
	}
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
		"Forwarded", "If-Match", "If-None-Match", "If-Unmodified-Since", "If-Range", "Range", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "Te", "Upgrade", "Pragma", "X-Custom",
	} {
		for _, m := range []string{",", "a, ", "0-,", "a;q=0.5,", "(", `\"`, "1.1 a,", "1.2.3.4,"} {
			v := fill(m, headerRoom)
			if name == "Range" {
				v = "bytes=" + v
			}
			out[name+": "+m] = hostile{path: "/h", header: http.Header{name: {v}}}
		}
	}
	for _, c := range []string{"_ga=1; ", "_ga=;", "a;", "a=1;", ";", "cart.a=1;", "%5f=1;", "pin=a;", "a b=1;"} {
		out["cookies "+c] = hostile{path: "/c", header: http.Header{"Cookie": {fill(c, headerRoom)}}}
	}
	for what, name := range map[string]func(i int) string{
		"X-":      func(i int) string { return fmt.Sprintf("X-%x", i) },
		"hyphens": func(i int) string { return fmt.Sprintf("A-B-C-D-%x", i) },
		"words":   func(i int) string { return fmt.Sprintf("Requesturiforwarde%x", i) },
	} {
		h := make(http.Header)
		for i, room := 0, headerRoom; room > 0; i++ {
			n := http.CanonicalHeaderKey(name(i))
			h[n] = []string{"a"}
			room -= len(n) + 5
		}
		out["names "+what] = hostile{path: "/n", header: h}
	}
	return out
}

// hostileChain is edge, router and cache before a page.
func hostileChain(t testing.TB) *edge.Server {
	pages := must(cache.New(cache.Options{IgnoreCookies: []string{"_ga", "_gid", "__utm*"}, Rules: cache.Rules{Plan: func(r *http.Request) cache.Plan {
		return cache.Plan{Query: cache.Query{Drop: []string{"utm_*", "gclid", "_ga"}}}
	}}}))
	t.Cleanup(func() { pages.Close() })
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", "4")
		w.Write([]byte("page"))
	})
	admin := router.Admin("/admin", "/wp-admin", "/cron.php").Except("/wp-admin/admin-ajax.php")
	front := must(router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: pages.Handler(origin)},
		router.Rule{Name: "media", When: router.Path("/media/*", "/product/{id}/img"), To: pages.Handler(origin)},
		router.Rule{Name: "shop", To: pages.Handler(origin)}))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", NoAccessLog: true, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() { srv.Close() })
	return srv
}

// request returns h as the edge gets it.
func (h hostile) request(ctx context.Context) *http.Request {
	path, err := url.PathUnescape(h.path)
	if err != nil {
		path = h.path
	}
	raw, target := h.path, h.path
	if raw == path {
		raw = ""
	}
	if h.query != "" {
		target += "?" + h.query
	}
	header := h.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	r := &http.Request{
		Method: "GET", URL: &url.URL{Path: path, RawPath: raw, RawQuery: h.query}, RequestURI: target, Host: "shop.example",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody, RemoteAddr: "192.0.2.7:4711",
	}
	return r.WithContext(ctx)
}

// least returns the shortest time that f has taken in n turns.
func least(n int, f func() time.Duration) time.Duration {
	best := f()
	for range n - 1 {
		best = min(best, f())
	}
	return best
}

// TestNoHostileRequestIsALever: whatever stands in a request, it costs the chain no
// more than some time that is proportional to its length. It is told in how long
// net/url takes to decode a target of escapes, some 15 to 20 µs on a machine of 2024
// with nothing else to do.
func TestNoHostileRequestIsALever(t *testing.T) {
	const most = 16 // times
	escapes := fill("%41", 7950)
	unit := func() time.Duration {
		return least(50, func() time.Duration {
			began := time.Now()
			if _, err := url.PathUnescape(escapes); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		})
	}
	srv := hostileChain(t)
	ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{})
	for what, h := range hostiles() {
		ask := func() time.Duration {
			w, r := httptest.NewRecorder(), h.request(ctx)
			began := time.Now()
			srv.ServeHTTP(w, r)
			return time.Since(began)
		}
		// On a machine that is busy both are measured again, side by side.
		var cost, one time.Duration
		for range 10 {
			if one, cost = unit(), least(30, ask); cost <= most*one {
				break
			}
		}
		t.Logf("%q: %v, %.1f times %v", what, cost, float64(cost)/float64(one), one)
		if cost > most*one {
			t.Errorf("%q costs %v, want at most %d times %v", what, cost, most, one)
		}
	}
}
