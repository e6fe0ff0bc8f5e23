package foretier_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestNobodyPassesAnAsk who is not let through, wherever caches stand, however often others
// have been served what is stored, behind an edge and without one; and nobody is taken for
// another.
func TestNobodyPassesAnAsk(t *testing.T) {
	var asked, unlike atomic.Int32
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/base/verify" || r.Host != "shop.example" || r.Header.Get("X-Forwarded-Host") != "shop.example" ||
			r.Header.Get("X-Forwarded-For") != "127.0.0.1" || !strings.HasPrefix(r.Header.Get("X-Forwarded-Uri"), "/") || r.Header.Get("X-Forwarded-Proto") != "http" {
			unlike.Add(1)
			t.Errorf("asked for %s of %s with %v", r.URL, r.Host, r.Header)
		}
		c, err := r.Cookie("sid")
		if err != nil {
			http.Redirect(w, r, "https://login.example/?rd="+r.Header.Get("X-Forwarded-Uri"), http.StatusFound)
			return
		}
		w.Header().Set("X-Remote-User", c.Value)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer auth.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/user") {
			w.Header().Set("Cache-Control", "no-store")
		} else {
			w.Header().Set("Cache-Control", "public, max-age=600")
		}
		fmt.Fprintf(w, "secret of %q", r.Header.Values("X-Remote-User"))
	}))
	defer app.Close()
	authPool := must(balancer.New(balancer.Backends(auth.URL+"/base"), balancer.Options{Name: "auth"}))
	defer authPool.Close()
	pool := must(balancer.New(balancer.Backends(app.URL), balancer.Options{}))
	defer pool.Close()
	pages, outer := must(cache.New(cache.Options{IgnoreCookies: []string{"sid"}})), must(cache.New(cache.Options{IgnoreCookies: []string{"zzz"}}))
	defer pages.Close()
	defer outer.Close()
	gate := must(router.NewAsk(authPool, router.AskOptions{Target: "/verify", Fields: []string{"X-Remote-User"}}))
	rules := []router.Rule{
		{Name: "wrongly", When: router.Path("/wrongly/*"), To: outer.Handler(gate.Handler(pool))},
		{Name: "rest", To: pages.Handler(pool), Use: []func(http.Handler) http.Handler{gate.Handler}},
	}
	front := must(router.New(router.Options{Claims: []router.Claim{router.Only(pool).For(router.Path("/*"))}}, rules...))
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0", Linger: -1, NoAccessLog: true}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	defer func() { stop(); <-done }()
	bare := httptest.NewServer(front)
	defer bare.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, at := range []string{"http://" + srv.Addr().String(), bare.URL} {
		get := func(path, user string) (*http.Response, string) {
			r := must(http.NewRequest("GET", at+path, nil))
			r.Host = "shop.example"
			r.Header.Set("X-Remote-User", "root")
			r.Header.Set("X-Forwarded-Uri", "/public")
			if user != "" {
				r.Header.Set("Cookie", "sid="+user)
			}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			return res, string(must(io.ReadAll(res.Body)))
		}
		for _, path := range []string{"/page", "/wrongly/page", "/user"} {
			for i := range 8 {
				user := []string{"alice", ""}[i%2]
				if path == "/user" && user != "" && i > 3 {
					user = "bob"
				}
				res, body := get(path, user)
				cc := res.Header.Get("Cache-Control")
				switch {
				case user == "" && (res.StatusCode != 302 || res.Header.Get("Location") != "https://login.example/?rd="+path || strings.Contains(body, "secret") || cc != "no-store"):
					t.Errorf("%s: a stranger gets %d %v %s", path, res.StatusCode, res.Header, body)
				case user != "" && (res.StatusCode != 200 || !strings.Contains(body, "secret") || strings.Contains(cc, "public") || strings.Contains(body, "root")):
					t.Errorf("%s: %s gets %d %v %s", path, user, res.StatusCode, res.Header, body)
				case user != "" && path == "/user" && body != fmt.Sprintf("secret of [%q]", user):
					t.Errorf("%s: %s gets %s", path, user, body)
				}
			}
		}
		auths := asked.Swap(0)
		if auths != 24 {
			t.Errorf("the service was asked %d times for 24 requests", auths)
		}
	}
	auth.Close()
	r := httptest.NewRequest("GET", "http://shop.example/page", nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: "alice"})
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("with the service down: %d %s", w.Code, w.Body)
	}
}
