package router_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

func TestMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var copies atomic.Int64
		release := make(chan struct{})
		m := router.NewMirror(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			copies.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			w.WriteHeader(500)
			panic("a broken copy")
		}))
		rt := mustNew(t, router.Rule{Name: "shop", To: say("apps"), Use: []func(http.Handler) http.Handler{m.Handler}})
		get(rt, "/before-run")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()

		send := func(change func(*http.Request)) {
			r := request("GET", "/a")
			change(r)
			ctx, cancel := context.WithCancel(r.Context())
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r.WithContext(ctx))
			cancel() // as the server does
			if w.Body.String() != "apps /a" {
				t.Errorf("the original got %q", w.Body)
			}
		}
		send(func(r *http.Request) { r.Method = "POST" })
		send(func(r *http.Request) { r.Header.Set("Cookie", "a=1") })
		send(func(r *http.Request) { r.Header.Set("Authorization", "x") })
		send(func(r *http.Request) { r.ContentLength = 1 })
		synctest.Wait()
		if n := copies.Load(); n != 0 {
			t.Errorf("%d copies of what must not be copied", n)
		}
		for range 100 {
			send(func(*http.Request) {})
		}
		synctest.Wait()
		if n := copies.Load(); n != 8 {
			t.Errorf("%d copies at once, want 8", n)
		}
		close(release)
		synctest.Wait()
		if got := m.Report().Metrics; got[0].Value+got[1].Value != 100 || got[0].Value < 64 || got[1].Value == 0 {
			t.Errorf("sent and dropped: %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A copy lives no longer than its time, and than Run.
func TestMirrorEnds(t *testing.T) {
	for name, want := range map[string]time.Duration{"its time": 30 * time.Second, "Run": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var took time.Duration
			m := router.NewMirror(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				began := time.Now()
				<-r.Context().Done()
				took = time.Since(began)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			synctest.Wait()
			get(m.Handler(say("x")), "/")
			time.Sleep(time.Second)
			if name == "its time" {
				time.Sleep(time.Minute)
			}
			cancel()
			<-done
			if took != want {
				t.Errorf("%s: ended after %s, want %s", name, took, want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	office := netip.MustParsePrefix("10.0.0.0/8")
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: router.NotAuthority("web0")},
		router.Rule{Name: "moved", When: router.Path("/p/{id}"), To: router.Redirect(301, "/product/{id}{query}")},
		router.Rule{Name: "www", When: router.Host("old.example"), To: router.Redirect(308, "https://new.example{path}{query}")},
		router.Rule{Name: "local", When: router.Path("/local/*"), To: router.Redirect(302, "{path}")},
		router.Rule{Name: "maintenance", When: router.Not(router.Client(office)), To: router.Maintenance(90*time.Second + 1)},
		router.Rule{Name: "shop", To: say("shop")},
	)
	for name, c := range map[string]struct {
		target, host, client string
		status               int
		field, want          string
	}{
		"not the authority": {target: "/admin", status: 403, field: "X-Refused", want: "this server is not the authority for this page; ask web0"},
		"redirect":          {target: "/p/a%3Fb?c", status: 301, field: "Location", want: "/product/a%3Fb?c"},
		"host":              {target: "/a%2fb?c", host: "old.example", status: 308, field: "Location", want: "https://new.example/a%2fb?c"},
		"host, raw bytes":   {target: "/a%2Fb{c}%7e?q=100%&x={y};z", host: "old.example", status: 308, field: "Location", want: "https://new.example/a%2Fb%7Bc%7D%7e?q=100%&x=%7By%7D;z"},
		"host, a mark":      {target: "/a?", host: "old.example", status: 308, field: "Location", want: "https://new.example/a?"},
		"parameter":         {target: "/p/it's(a):b?", status: 301, field: "Location", want: "/product/it's(a):b?"},
		"host, authority":   {target: "//evil.example/", host: "old.example", status: 308, field: "Location", want: "https://new.example/evil.example/"},
		"maintenance":       {target: "/", client: "192.0.2.1:1", status: 503, field: "Retry-After", want: "91"},
		"let through":       {target: "/", client: "10.0.0.1:1", status: 200},
	} {
		r := request("GET", c.target)
		if c.host != "" {
			r.Host = c.host
		}
		if c.client != "" {
			r.RemoteAddr = c.client
		}
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.status || c.field != "" && w.Header().Get(c.field) != c.want {
			t.Errorf("%s: got %d %v", name, w.Code, w.Header())
		}
	}
	for _, bad := range []http.Handler{router.Redirect(200, "/"), router.Redirect(301, "x"), router.Redirect(301, "")} {
		if _, err := router.New(router.Options{}, router.Rule{Name: "x", To: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: say("origin"), Use: []func(http.Handler) http.Handler{router.SameOrigin()}},
		router.Rule{Name: "shop", To: say("shop")})
	for _, c := range []struct {
		method, path, site string
		want               int
	}{
		{"POST", "/admin", "cross-site", 403},
		{"POST", "/admin", "same-origin", 200},
		{"GET", "/admin", "cross-site", 200},
		{"POST", "/payment/return", "cross-site", 200},
	} {
		r := request(c.method, c.path)
		r.Header.Set("Sec-Fetch-Site", c.site)
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %s %s: got %d, want %d", c.method, c.path, c.site, w.Code, c.want)
		}
	}
}

func TestPresets(t *testing.T) {
	for name, c := range map[string]struct {
		m              router.Matcher
		admin, visitor []string
	}{
		"WordPress": {router.WordPress("/phpmyadmin"), []string{"/wp-admin/", "/wp-admin/users.php", "/wp-login.php", "/wp-cron.php?x", "/WP-ADMIN/admin-ajax.php", "/phpmyadmin"}, []string{"/", "/wp-admin/admin-ajax.php?action=x", "/wp-content/a.css", "/wp-json/x"}},
		"Magento":   {router.Magento("admin_x1", "/de/admin_x1"), []string{"/admin_x1", "/index.php/admin_x1/x", "/de/admin_x1", "/pub/cron.php", "/setup"}, []string{"/", "/admin", "/de", "/rest/V1/carts"}},
		"Shopware":  {router.Shopware(), []string{"/admin", "/api/oauth/token", "/backend/Login"}, []string{"/store-api/product", "/adminer", "/"}},
		"OXID":      {router.OXID(), []string{"/admin/", "/setup/index.php", "/bin/cron.php"}, []string{"/", "/index.php?cl=basket"}},
	} {
		for _, target := range c.admin {
			if !c.m.Match(request("GET", target)) {
				t.Errorf("%s: %s is not admin", name, target)
			}
		}
		for _, target := range c.visitor {
			if c.m.Match(request("GET", target)) {
				t.Errorf("%s: %s is admin", name, target)
			}
		}
		if _, err := router.New(router.Options{}, router.Rule{Name: "a", When: c.m, To: say("x")}, router.Rule{Name: "b", To: say("x")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []router.Rule{
			{Name: "search", When: router.Path("/search"), To: say("apps"), Limit: router.Limit{Rate: 0.5, Burst: 3}},
			{Name: "filter", When: router.Path("/filter"), To: say("apps"), Limit: router.Limit{Rate: 2}},
			{Name: "shop", To: say("apps")},
		}
		rt := mustNew(t, rules...)
		ask := func(path, client string) string {
			r := request("GET", path)
			r.RemoteAddr = client
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			return fmt.Sprint(w.Code, w.Header().Get("Retry-After"))
		}
		want := func(path, client string, wants ...string) {
			t.Helper()
			for i, want := range wants {
				if got := strings.TrimSpace(ask(path, client)); got != want {
					t.Errorf("%s, %s, request %d: got %s, want %s", path, client, i, got, want)
				}
			}
		}
		want("/search", "192.0.2.1:1", "200", "200", "200", "4292", "4292")
		want("/search", "192.0.2.2:1", "200")
		want("/", "192.0.2.1:1", "200")
		time.Sleep(2 * time.Second)
		want("/search", "192.0.2.1:1", "200", "4292")
		if err := rt.Update(rules...); err != nil {
			t.Fatal(err)
		}
		want("/search", "192.0.2.1:1", "4292") // the account outlives an update
		want("/search", "[2001:db8::1]:1", "200", "200")
		want("/search", "[2001:db8::ffff:1]:1", "200", "4292") // of the same /64
		want("/search", "[2001:db8:0:1::1]:1", "200")
		want("/filter", "192.0.2.1:1", "200", "200", "4291")
		if got := rt.Report().Parts[0].Metrics[1]; got.Name != "limited_total" || got.Value != 5 {
			t.Errorf("counted %v", got)
		}
	})
}

// What turns out to be a stream gives its place of the rule's back, unless the
// rule is one of streams.
func TestLimitInFlightLeavesStreamsOut(t *testing.T) {
	for _, streams := range []bool{false, true} {
		in, end := make(chan struct{}), make(chan struct{})
		rt := mustNew(t, router.Rule{Name: "events", Limit: router.Limit{InFlight: 2}, Streams: streams, To: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			transit.From(r.Context()).Streaming()
			in <- struct{}{}
			<-end
		})})
		codes := make(chan int)
		served := 0
		for range 5 {
			go func() {
				r := request("GET", "/")
				ctx, _ := transit.With(r.Context())
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, r.WithContext(ctx))
				codes <- w.Code
			}()
			select {
			case <-in:
				served++
			case code := <-codes:
				if code != 429 {
					t.Errorf("rule of streams %v: got %d", streams, code)
				}
			}
		}
		if want := map[bool]int{false: 5, true: 2}[streams]; served != want {
			t.Errorf("rule of streams %v: %d at once, want %d", streams, served, want)
		}
		close(end)
		for range served {
			<-codes
		}
	}
}

func TestLimitInFlight(t *testing.T) {
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	rt := mustNew(t, router.Rule{Name: "export", To: slow, Limit: router.Limit{InFlight: 2}})
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- get(rt, "/").Code }()
		<-entered
	}
	for range 3 {
		if w := get(rt, "/"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a third got %d", w.Code)
		}
	}
	close(leave)
	<-done
	<-done
	if w := get(rt, "/"); w.Code != http.StatusOK {
		t.Errorf("after they had ended: %d", w.Code)
	}
	for _, bad := range []router.Limit{{Rate: -1}, {InFlight: -1}, {Burst: 1}} {
		if _, err := router.New(router.Options{}, router.Rule{Name: "x", To: slow, Limit: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
