package router_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
)

func hashed(t testing.TB, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// A gate is a rule behind a Basic, whose backend says who it was told of.
func gate(t testing.TB, b *router.Basic) http.Handler {
	t.Helper()
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q", r.Header["X-Remote-User"], r.Header["Authorization"])
	})
	rt, err := router.New(router.Options{}, router.Rule{Name: "staging", Use: []func(http.Handler) http.Handler{b.Handler}, To: shop})
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func knock(h http.Handler, from, name, password string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://staging.example/", nil)
	r.RemoteAddr = from + ":1234"
	r.Header.Set("X-Remote-User", "admin")
	if name != "" {
		r.SetBasicAuth(name, password)
	}
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestBasic(t *testing.T) {
	users := map[string]string{"ann": hashed(t, "correct: horse", bcrypt.MinCost), "bob": hashed(t, "s", bcrypt.MinCost), "": ""}
	if _, err := router.NewBasic(router.BasicOptions{Users: users}); err == nil {
		t.Error("a user without a name")
	}
	delete(users, "")
	b, err := router.NewBasic(router.BasicOptions{Realm: "Staging", Users: users, Header: "x-remote-user"})
	if err != nil {
		t.Fatal(err)
	}
	h := gate(t, b)
	raw := func(value ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = value }
	}
	pair := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		user, password string
		edit           func(*http.Request)
		code           int
	}{
		"right":                    {"ann", "correct: horse", nil, 200},
		"another's password":       {"bob", "correct: horse", nil, 401},
		"wrong":                    {"ann", "wrong", nil, 401},
		"empty":                    {"ann", "", nil, 401},
		"nobody":                   {"eve", "correct: horse", nil, 401},
		"no name":                  {"", "", nil, 401},
		"an empty name":            {"", "", raw(pair(":s")), 401},
		"in another case":          {"Ann", "correct: horse", nil, 401},
		"the scheme in capitals":   {"", "", raw("BASIC " + pair("bob:s")[6:]), 200},
		"twice":                    {"", "", raw(pair("bob:s"), pair("bob:s")), 401},
		"another scheme":           {"", "", raw("Bearer abc"), 401},
		"no base64":                {"", "", raw("Basic %%%"), 401},
		"no colon":                 {"", "", raw(pair("bob")), 401},
		"long":                     {"", "", raw(pair("bob:s" + strings.Repeat("x", 2000))), 401},
		"more behind the password": {"bob", "s\x00", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			edit := c.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			w := knock(h, fmt.Sprintf("192.0.2.%d", len(name)), c.user, c.password, edit)
			if w.Code != c.code {
				t.Fatalf("%d, want %d", w.Code, c.code)
			}
			challenge := w.Header().Get("WWW-Authenticate")
			if c.code == 401 && (challenge != `Basic realm="Staging", charset="UTF-8"` || w.Header().Get("Cache-Control") != "no-store") {
				t.Errorf("%v", w.Header())
			}
			if c.code == 200 && (challenge != "" || !strings.HasSuffix(w.Body.String(), `"] []`) || strings.Contains(w.Body.String(), "admin")) {
				t.Errorf("%s", w.Body)
			}
		})
	}
	// Who is taken off, or has another password, is asked again.
	knock(h, "192.0.2.99", "ann", "correct: horse")
	if err := b.Update(map[string]string{"ann": hashed(t, "new", bcrypt.MinCost), "bob": users["bob"]}); err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]int{"correct: horse": 401, "new": 200} {
		if w := knock(h, "192.0.2.99", "ann", password); w.Code != want {
			t.Errorf("%s: %d, want %d", password, w.Code, want)
		}
	}
	explained := func(edit func(*http.Request)) string {
		r := httptest.NewRequest("GET", "http://staging.example/", nil)
		edit(r)
		return health.Explain(h, r).String()
	}
	if s := explained(func(*http.Request) {}); !strings.Contains(s, "401") {
		t.Error(s)
	}
	if s := explained(func(r *http.Request) { r.SetBasicAuth("bob", "wrong") }); !strings.Contains(s, `"bob"`) || strings.Contains(s, "wrong") {
		t.Error(s)
	}
}

func TestBasicRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		opts router.BasicOptions
		want string
	}{
		"a realm with quotes": {router.BasicOptions{Realm: `a"b`}, "realm"},
		"a field with blanks": {router.BasicOptions{Header: "X Remote"}, "X-Remote-User"},
		"a password":          {router.BasicOptions{Users: map[string]string{"ann": "secret"}}, "htpasswd -B"},
		"a hash of MD5":       {router.BasicOptions{Users: map[string]string{"ann": "$apr1$a$b"}}, "htpasswd -B"},
		"a name with a colon": {router.BasicOptions{Users: map[string]string{"a:b": hashed(t, "x", bcrypt.MinCost)}}, "without a colon"},
		"a dear hash":         {router.BasicOptions{Users: map[string]string{"ann": "$2y$15$" + strings.Repeat("a", 53)}}, "14 at most"},
	} {
		if _, err := router.NewBasic(c.opts); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	hash := hashed(t, "x", bcrypt.MinCost)
	users, err := router.ParseHtpasswd([]byte("# staging\n\nann:" + hash + "\r\n  bob:" + hash))
	if err != nil || len(users) != 2 || users["ann"] != hash || users["bob"] != hash {
		t.Errorf("%v, %v", users, err)
	}
	for _, text := range []string{"ann", "ann:secret", ":" + hash, "ann:" + hash + "\nann:" + hash, "ann:" + strings.Repeat("x", 1<<17)} {
		if _, err := router.ParseHtpasswd([]byte("#\n" + text)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestBasicIsNoLever: whoever guesses is stopped, and hashing is bounded, while those
// who are known come in.
func TestBasicIsNoLever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := router.NewBasic(router.BasicOptions{Users: map[string]string{"ann": hashed(t, "right", bcrypt.MinCost)}})
		if err != nil {
			t.Fatal(err)
		}
		h := gate(t, b)
		if w := knock(h, "192.0.2.1", "ann", "right"); w.Code != 200 {
			t.Fatal(w.Code)
		}
		for i := range 12 {
			want := 401
			if i >= 10 {
				want = 429
			}
			if w := knock(h, "192.0.2.1", "ann", fmt.Sprint(i)); w.Code != want {
				t.Errorf("guess %d: %d, want %d", i, w.Code, want)
			} else if want == 429 && w.Header().Get("Retry-After") != "30" {
				t.Errorf("%v", w.Header())
			}
		}
		for from, want := range map[string]int{"192.0.2.1": 200, "192.0.2.2": 200} { // the first by memory
			if w := knock(h, from, "ann", "right"); w.Code != want {
				t.Errorf("%s: %d, want %d", from, w.Code, want)
			}
		}
		time.Sleep(30 * time.Second)
		if w := knock(h, "192.0.2.1", "ann", "guess"); w.Code != 401 {
			t.Errorf("after a while: %d", w.Code)
		}
		// What was right is forgotten after five minutes, and then counts as a guess
		// until it has been hashed.
		time.Sleep(5 * time.Minute)
		for range 20 {
			if w := knock(h, "192.0.2.3", "ann", "right"); w.Code != 200 {
				t.Errorf("right: %d", w.Code)
			}
		}
	})
}

// TestOnePairIsHashedOnce for all that come with it at once.
func TestOnePairIsHashedOnce(t *testing.T) {
	b, err := router.NewBasic(router.BasicOptions{Users: map[string]string{"ann": hashed(t, "right", bcrypt.DefaultCost)}})
	if err != nil {
		t.Fatal(err)
	}
	h := gate(t, b)
	var all sync.WaitGroup
	codes := make(chan int, 200)
	for range 200 {
		all.Go(func() { codes <- knock(h, "192.0.2.1", "ann", "right").Code })
	}
	all.Wait()
	close(codes)
	for code := range codes {
		if code != 200 {
			t.Fatalf("%d", code)
		}
	}
	// Whoever leaves does not wait.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	knock(h, "192.0.2.1", "ann", "other", func(r *http.Request) { *r = *r.WithContext(ctx) })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
