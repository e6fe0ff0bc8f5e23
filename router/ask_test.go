package router_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

// askFor returns a router whose only rule asks a service, and answers with what reaches
// its handler.
func askFor(t *testing.T, service http.Handler, opts router.AskOptions) (*router.Router, *router.Ask) {
	t.Helper()
	gate, err := router.NewAsk(service, opts)
	if err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60, s-maxage=600")
		w.Header().Set("CDN-Cache-Control", "max-age=600")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "page user=%q body=%q", r.Header.Values("Remote-User"), body)
		for name := range r.Header {
			if strings.EqualFold(name, "X-Shop-Group") {
				t.Errorf("a client says what the service says: %v", r.Header)
			}
		}
	})
	return mustNew(t, router.Rule{Name: "tools", To: page, Use: []func(http.Handler) http.Handler{gate.Handler}}), gate
}

type serviceFunc func(http.ResponseWriter, *http.Request)

func (f serviceFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) { f(w, r) }

// TestAskQuestion: the service is told what there is to judge, as it goes on, and nothing
// that a client has made up.
func TestAskQuestion(t *testing.T) {
	var got *http.Request
	var body string
	service := serviceFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		w.Header()["Remote-User"] = []string{"alice"}
		w.WriteHeader(204)
	})
	rt, _ := askFor(t, service, router.AskOptions{Target: "/verify?rd=1", Fields: []string{"remote-user", "Remote-Groups", "X-Shop-Group"}})
	r := request("POST", "/tools/a%2Fb?x=%3D&y")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("secret=1")), 8
	for name, value := range map[string]string{
		"Cookie": "sid=1; other=2", "Authorization": "Bearer x", "X-Custom": "kept", "Content-Type": "text/plain", "If-None-Match": `"a"`,
		"Range": "bytes=0-1", "Upgrade": "websocket", "Connection": "upgrade", "X-Forwarded-Uri": "/public", "X-Forwarded-Method": "GET",
		"X-Original-Url": "/public", "Remote-User": "root", "Remote-Groups": "admins", "X-Shop-Group": "staff", "Accept-Encoding": "gzip", "Expect": "100-continue",
	} {
		r.Header.Set(name, value)
	}
	r.Header["remote-user"], r.Header["x-shop-group"] = []string{"root"}, []string{"staff"}
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	if w.Body.String() != `page user=["alice"] body="secret=1"` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got.Method != "GET" || got.URL.String() != "/verify?rd=1" || got.Host != "shop.example" || body != "" {
		t.Errorf("asked %s %s of %s with %q", got.Method, got.URL, got.Host, body)
	}
	want := map[string]string{"Cookie": "sid=1; other=2", "Authorization": "Bearer x", "X-Custom": "kept", "X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/tools/a%2Fb?x=%3D&y"}
	for name, lines := range got.Header {
		if want[name] != strings.Join(lines, "|") {
			t.Errorf("told %s: %q, want %q", name, lines, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not told %v", want)
	}
}

// TestAskAnswers: what it says goes to the client as it is, and what is no answer opens
// nothing.
func TestAskAnswers(t *testing.T) {
	answer := func(status int, lines ...string) serviceFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, line := range lines {
				name, value, _ := strings.Cut(line, ": ")
				w.Header().Add(name, value)
			}
			w.WriteHeader(status)
			io.WriteString(w, "said")
		}
	}
	for name, c := range map[string]struct {
		service serviceFunc
		status  int
		fields  string // of the answer that must be there
		body    string
		metric  string
	}{
		"passes":              {answer(200, "Remote-User: bob", "Set-Cookie: sid=2"), 200, "Set-Cookie: sid=2", `page user=["bob"] body=""`, "questions_total"},
		"passes, user unsaid": {answer(204), 200, "", `page user=[] body=""`, "questions_total"},
		"redirects":           {answer(302, "Location: https://login.example/?rd=1", "Set-Cookie: state=1", "Set-Cookie: b=2", "Cache-Control: public, max-age=60"), 302, "Location: https://login.example/?rd=1", "said", "requests_refused_total"},
		"401":                 {answer(401, `WWW-Authenticate: Bearer realm="x"`), 401, `WWW-Authenticate: Bearer realm="x"`, "said", "requests_refused_total"},
		"403, gzip":           {answer(403, "Content-Encoding: br", "Content-Length: 9999", "Connection: X-Odd", "X-Odd: 1"), 403, "Content-Encoding: br", "said", "requests_refused_total"},
		"429":                 {answer(429, "Retry-After: 7"), 429, "Retry-After: 7", "said", "requests_refused_total"},
		"500":                 {answer(500, "Set-Cookie: leak=1"), 503, "Retry-After: 30", "503 Service Unavailable\n", "requests_failed_total"},
		"304":                 {answer(304), 503, "", "", "requests_failed_total"},
		"101":                 {answer(101), 503, "", "", "requests_failed_total"},
		"nothing":             {func(http.ResponseWriter, *http.Request) {}, 503, "", "", "requests_failed_total"},
		"1xx, then 401": {func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				w.Header().Set("Link", "</a>")
				w.WriteHeader(103)
			}
			w.Header().Del("Link")
			w.WriteHeader(401)
			w.WriteHeader(200)
		}, 401, "", "", "requests_refused_total"},
		"1xx alone": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103) }, 503, "", "", "requests_failed_total"},
		"a huge refusal": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(401)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
		}, 503, "", "", "requests_failed_total"},
		"a refusal that breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, 503, "", "", "requests_failed_total"},
		"a pass that keeps on": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, 200, "", `page user=[] body=""`, "questions_total"},
		"a pass without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, 200, "", `page user=[] body=""`, "questions_total"},
		"hangs": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 503, "", "", "requests_failed_total"},
		"hangs in a refusal": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(401)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, 503, "", "", "requests_failed_total"},
		"the pool's own 403":  {func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 403, context.Canceled) }, 503, "", "", "requests_failed_total"},
		"a client that left":  {func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, transit.StatusGone, context.Canceled) }, 503, "", "", "requests_failed_total"},
		"the pool's own 200s": {func(w http.ResponseWriter, r *http.Request) { w.Write(nil) }, 200, "", "", "questions_total"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt, gate := askFor(t, c.service, router.AskOptions{Fields: []string{"Remote-User"}})
				begin := time.Now()
				w := asks(rt, "192.0.2.1:1", "Remote-User: root")
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				field, value, _ := strings.Cut(c.fields, ": ")
				if w.Code != c.status || c.fields != "" && w.Header().Get(field) != value || c.body != "" && w.Body.String() != c.body {
					t.Errorf("got %d %v %q", w.Code, w.Header(), w.Body)
				}
				cc := w.Header().Get("Cache-Control")
				want := "no-store"
				if w.Code == 200 {
					want = "private, max-age=60"
				}
				if cc != want || w.Header()["Cdn-Cache-Control"] != nil {
					t.Errorf("caches are told %q", w.Header())
				}
				if w.Header().Get("X-Odd") != "" || w.Code >= 300 && w.Header().Get("Content-Length") == "9999" || strings.Contains(fmt.Sprint(w.Header()), "leak") {
					t.Errorf("it goes on: %v", w.Header())
				}
				for _, m := range gate.Report().Metrics {
					if m.Name == c.metric && m.Value != 1 {
						t.Errorf("%s is %v", m.Name, m.Value)
					}
				}
				// What is left of it ends: synctest waits for that.
			})
		})
	}
}

// TestAskKeeps what may be kept, for whom it holds, and tells the service nothing else then.
func TestAskKeeps(t *testing.T) {
	type ask struct {
		client, target string
		lines          []string
	}
	alice := ask{"192.0.2.1:1", "/a", []string{"Cookie: sid=alice; junk=1", "Accept: */*"}}
	with := func(change func(*ask)) ask { a := alice; a.lines = slices.Clone(a.lines); change(&a); return a }
	for name, c := range map[string]struct {
		answer  []string
		after   time.Duration
		then    ask
		another bool // is asked for
	}{
		"the same":              {[]string{"Cache-Control: private, max-age=60"}, 0, alice, false},
		"other fields, unsaid":  {[]string{"Cache-Control: max-age=60"}, 0, with(func(a *ask) { a.lines = []string{"Cookie: junk=2; sid=alice", "Accept: image/*"} }), false},
		"too old":               {[]string{"Cache-Control: max-age=60"}, time.Minute, alice, true},
		"of an Age":             {[]string{"Cache-Control: max-age=60", "Age: 50"}, 11 * time.Second, alice, true},
		"longest":               {[]string{"Cache-Control: max-age=999999"}, 5*time.Minute + 1, alice, true},
		"another target":        {[]string{"Cache-Control: max-age=60"}, 0, with(func(a *ask) { a.target = "/b" }), true},
		"a target, by Vary":     {[]string{"Cache-Control: max-age=60", "Vary: Cookie"}, 0, with(func(a *ask) { a.target = "/b" }), false},
		"a target, named":       {[]string{"Cache-Control: max-age=60", "Vary: Cookie, x-forwarded-uri"}, 0, with(func(a *ask) { a.target = "/b" }), true},
		"Vary: *":               {[]string{"Cache-Control: max-age=60", "Vary: *"}, 0, alice, true},
		"another session":       {[]string{"Cache-Control: max-age=60", "Vary: Accept"}, 0, with(func(a *ask) { a.lines[0] = "Cookie: sid=mallory" }), true},
		"no session":            {[]string{"Cache-Control: max-age=60", "Vary: Accept"}, 0, with(func(a *ask) { a.lines = nil }), true},
		"two sessions":          {[]string{"Cache-Control: max-age=60"}, 0, with(func(a *ask) { a.lines[0] = "Cookie: sid=alice; sid=mallory" }), true},
		"another Authorization": {[]string{"Cache-Control: max-age=60"}, 0, with(func(a *ask) { a.lines = append(a.lines, "Authorization: x") }), true},
		"another client":        {[]string{"Cache-Control: max-age=60"}, 0, with(func(a *ask) { a.client = "192.0.2.2:1" }), true},
		"unstated":              {nil, 0, alice, true},
		"no-store":              {[]string{"Cache-Control: max-age=60, no-store"}, 0, alice, true},
		"no number":             {[]string{"Cache-Control: max-age=x"}, 0, alice, true},
		"sets a cookie":         {[]string{"Cache-Control: max-age=60", "Set-Cookie: sid=new"}, 0, alice, true},
		"large":                 {[]string{"Cache-Control: max-age=60", "Remote-User: " + strings.Repeat("x", 9000)}, 0, alice, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				service := serviceFunc(func(w http.ResponseWriter, r *http.Request) {
					calls++
					if r.Header.Get("Accept") != "" || strings.Contains(r.Header.Get("Cookie"), "junk") {
						t.Errorf("told %v", r.Header)
					}
					w.Header().Set("Remote-User", "alice")
					for _, line := range c.answer {
						name, value, _ := strings.Cut(line, ": ")
						w.Header().Set(name, value)
					}
					w.WriteHeader(200)
				})
				rt, gate := askFor(t, service, router.AskOptions{Fields: []string{"Remote-User"}, By: []string{"authorization"}, Cookies: []string{"sid"}})
				send := func(a ask) string {
					r := request("GET", a.target)
					r.RemoteAddr = a.client
					for _, line := range a.lines {
						name, value, _ := strings.Cut(line, ": ")
						r.Header.Set(name, value)
					}
					w := httptest.NewRecorder()
					rt.ServeHTTP(w, r)
					return w.Body.String()
				}
				first := send(alice)
				time.Sleep(c.after) // of the bubble's
				if again := send(c.then); again != first || !strings.Contains(first, "user=") {
					t.Errorf("got %.50s, then %.50s", first, again)
				}
				if want := map[bool]int{false: 1, true: 2}[c.another]; calls != want {
					t.Errorf("asked %d times, want %d", calls, want)
				}
				if n := gate.Report().Metrics[1].Value; (n == 1) == c.another {
					t.Errorf("%v passes were kept", n)
				}
			})
		})
	}
}

// TestAskOnce: who comes with the same at the same time has one question put, whoever of
// them leaves, and a refusal is for all of them.
func TestAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		answer := make(chan struct{})
		service := serviceFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			<-answer
			http.Redirect(w, &http.Request{Method: "GET"}, "https://login.example/", http.StatusFound)
		})
		rt, _ := askFor(t, service, router.AskOptions{Cookies: []string{"sid"}})
		codes := make(chan int, 10)
		ctx, leave := context.WithCancel(t.Context())
		for i := range 10 {
			go func() {
				r := request("GET", "/")
				if i == 0 {
					r = r.WithContext(ctx)
				}
				r.Header.Set("Cookie", "sid=1")
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, r)
				codes <- w.Code
			}()
			synctest.Wait() // the first is who asks
		}
		leave()
		synctest.Wait()
		close(answer)
		for range 10 {
			if code := <-codes; code != 302 {
				t.Errorf("got %d", code)
			}
		}
		if calls.Load() != 1 {
			t.Errorf("asked %d times", calls.Load())
		}
	})
}

// TestAskExplained: nobody is asked for it, and no secret is shown.
func TestAskExplained(t *testing.T) {
	asked := 0
	service := serviceFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(200)
	})
	rt, _ := askFor(t, service, router.AskOptions{By: []string{"Authorization"}})
	r := request("GET", "/")
	r.Header.Set("Authorization", "Bearer secret")
	before := fmt.Sprint(rt.Explain(r))
	if asked != 0 || !strings.Contains(before, "asks") || strings.Contains(before, "secret") {
		t.Errorf("asked %d times, explained %s", asked, before)
	}
	rt.ServeHTTP(httptest.NewRecorder(), r)
	if after := fmt.Sprint(rt.Explain(r)); asked != 1 || !strings.Contains(after, "passed before") {
		t.Errorf("asked %d times, explained %s", asked, after)
	}
}

func TestAsksThatAreNone(t *testing.T) {
	ok := serviceFunc(func(http.ResponseWriter, *http.Request) {})
	for want, opts := range map[string]router.AskOptions{
		"want a path":                  {Target: "http://auth.internal/verify"},
		"Target \"verify\"":            {Target: "verify"},
		"no name of a field":           {Fields: []string{"Remote User"}},
		"for the tier to say":          {Fields: []string{"X-Forwarded-For"}},
		"Transfer-Encoding is":         {Fields: []string{"transfer-encoding"}},
		"names of cookies in Cookies":  {By: []string{"cookie"}},
		`"a=b" is no name of a cookie`: {Cookies: []string{"a=b"}},
		"Timeout must not be":          {Timeout: -1},
	} {
		if _, err := router.NewAsk(ok, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", opts, err, want)
		}
	}
	if _, err := router.NewAsk(serviceFunc(nil), router.AskOptions{}); err == nil {
		t.Error("a nil service was taken")
	}
	if _, err := router.NewAsk(nil, router.AskOptions{}); err == nil {
		t.Error("no service was taken")
	}
}
