package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/foretier/foretier/router"
)

// asks sends a request of a client's with lines such as "X-Api-Key: a", and returns the
// status.
func asks(h http.Handler, client string, lines ...string) *httptest.ResponseRecorder {
	r := request("GET", "/")
	r.RemoteAddr = client
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestLimitBy(t *testing.T) {
	const a, b = "192.0.2.1:1", "[2001:db8::1]:1"
	tenant := router.ByFunc("tenant", func(r *http.Request) string { return r.URL.Query().Get("tenant") + r.Header.Get("X-Tenant") })
	type step struct {
		client string
		lines  []string
		want   int
	}
	for name, c := range map[string]struct {
		by    router.LimitBy
		steps []step
	}{
		"by header, whoever sends it": {router.ByHeader("x-api-key"), []step{
			{a, []string{"X-Api-Key: one"}, 200}, {b, []string{"X-Api-Key: one"}, 200}, {b, []string{"X-Api-Key: one"}, 429},
			{a, []string{"X-Api-Key: two"}, 200},
			{a, nil, 200}, {a, nil, 200}, {a, nil, 429}, {b, nil, 200}, // by client
		}},
		"two lines are none": {router.ByHeader("X-Api-Key"), []step{
			{a, []string{"X-Api-Key: one", "X-Api-Key: 1"}, 200}, {a, []string{"X-Api-Key: one", "X-Api-Key: 2"}, 200},
			{a, []string{"X-Api-Key: one", "X-Api-Key: 3"}, 429}, {a, []string{"X-Api-Key: "}, 429}, {a, []string{"X-Api-Key: one"}, 200},
		}},
		"by cookie": {router.ByCookie("session"), []step{
			{a, []string{"Cookie: x=1; session=s1"}, 200}, {b, []string{`Cookie: session="s1"; y=2`}, 200}, {b, []string{"Cookie: session=s1"}, 429},
			{b, []string{"Cookie: session=s2"}, 200},
			{b, []string{"Cookie: session=s3; session=s4"}, 200}, {b, []string{"Cookie: session=s5; session=s6"}, 200}, {b, []string{"Cookie: session=s7; session=s8"}, 429},
		}},
		"by a function": {tenant, []step{
			{a, []string{"X-Tenant: one"}, 200}, {b, []string{"X-Tenant: one"}, 200}, {b, []string{"X-Tenant: one"}, 429}, {b, nil, 200},
		}},
		"a name is no client's": {router.ByHeader("X-Api-Key"), []step{
			{a, []string{"X-Api-Key: 192.0.2.1"}, 200}, {a, []string{"X-Api-Key: 192.0.2.1"}, 200}, {a, []string{"X-Api-Key: 192.0.2.1"}, 429}, {a, nil, 200},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rules := func() router.Rule {
					by := c.by
					if by.String() == `ByHeader("X-Api-Key")` {
						by = router.ByHeader("X-Api-Key") // as a table that is built anew has it
					}
					return router.Rule{Name: "api", To: say("apps"), Limit: router.Limit{Rate: 1, Burst: 2, By: by}}
				}
				rt := mustNew(t, rules())
				for i, s := range c.steps {
					if i > 0 {
						if err := rt.Update(rules()); err != nil {
							t.Fatal(err)
						}
					}
					if got := asks(rt, s.client, s.lines...).Code; got != s.want {
						t.Errorf("request %d, %s %q: got %d, want %d", i, s.client, s.lines, got, s.want)
					}
				}
			})
		})
	}
}

// TestMadeUpNames: who shows another name with each request sends no more than 32 may,
// nor takes from others what they may send.
func TestMadeUpNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := mustNew(t, router.Rule{Name: "api", To: say("apps"), Limit: router.Limit{Rate: 1, Burst: 2, By: router.ByHeader("X-Api-Key")}})
		served := 0
		for n := range 1000 {
			if asks(rt, "192.0.2.1:1", fmt.Sprint("X-Api-Key: ", n)).Code == 200 {
				served++
			}
		}
		if served != 64 {
			t.Errorf("%d were served at once, want 64", served)
		}
		if got := asks(rt, "192.0.2.2:1", "X-Api-Key: 999").Code; got != 200 {
			t.Errorf("somebody else under a name that was refused: %d", got)
		}
		time.Sleep(time.Second) // of the bubble's
		if got := asks(rt, "192.0.2.1:1", "X-Api-Key: 1000").Code; got != 200 {
			t.Errorf("after a second: %d", got)
		}
	})
}

// TestRateLimitFields: they say what is left, as Structured Fields, of each limit.
func TestRateLimitFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := router.NewLimiter(`in "ner" é`, router.Limit{Rate: 10, Burst: 5})
		if err != nil {
			t.Fatal(err)
		}
		rt := mustNew(t, router.Rule{Name: "api", To: say("apps"), Limit: router.Limit{Rate: 0.5, Burst: 3},
			Use: []func(http.Handler) http.Handler{inner.Handler}})
		for i, want := range []string{
			`api q=3 w=6; in "ner" ? q=5 w=1; api r=2 t=2; in "ner" ? r=4 t=1`,
			`api q=3 w=6; in "ner" ? q=5 w=1; api r=1 t=4; in "ner" ? r=3 t=1`,
			`api q=3 w=6; in "ner" ? q=5 w=1; api r=0 t=6; in "ner" ? r=2 t=1`,
			`api q=3 w=6; api r=0 t=6`,
		} {
			w := asks(rt, "192.0.2.1:1")
			if got := strings.Join(append(members(t, w.Header()["Ratelimit-Policy"]), members(t, w.Header()["Ratelimit"])...), "; "); got != want {
				t.Errorf("answer %d, %d, says %s, want %s", i, w.Code, got, want)
			}
		}
	})
}

// members reads a list of strings with parameters.
func members(t *testing.T, lines []string) (out []string) {
	t.Helper()
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	for _, m := range list {
		item := m.(httpsfv.Item)
		text := item.Value.(string)
		for _, name := range item.Params.Names() {
			v, _ := item.Params.Get(name)
			text += fmt.Sprintf(" %s=%d", name, v)
		}
		out = append(out, text)
	}
	return out
}

// A limitStore is one that says what it is told to.
type limitStore struct {
	mu    sync.Mutex
	asked []string
	wait  time.Duration
	left  int
	err   error
}

func (s *limitStore) Take(_ context.Context, account string, _ time.Duration, _ int) (time.Duration, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, account)
	return s.wait, s.left, s.err
}

// TestLimitStore: it is asked once for what this gateway would let through, what it
// refuses is not on this gateway's account, and while it fails that counts alone.
func TestLimitStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &limitStore{left: 1}
		const key = "X-Api-Key: secret"
		rt := mustNew(t, router.Rule{Name: "api", To: say("apps"), Limit: router.Limit{Rate: 1, Burst: 3, By: router.ByHeader("X-Api-Key"), Store: store}})
		want := func(what string, code, left, calls int) {
			t.Helper()
			w := asks(rt, "192.0.2.1:1", key)
			if got := members(t, w.Header()["Ratelimit"])[0]; w.Code != code || !strings.Contains(got, fmt.Sprintf("r=%d ", left)) || len(store.asked) != calls {
				t.Errorf("%s: %d, %s, after %d calls; want %d with %d left after %d calls", what, w.Code, got, len(store.asked), code, left, calls)
			}
		}
		want("shared", 200, 1, 1)
		store.wait = 1500 * time.Millisecond
		for n := range 5 {
			want("the others have sent too much", 429, 0, 2+n)
		}
		if w := asks(rt, "192.0.2.1:1", key); w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
		store.wait, store.err = 0, errors.New("down")
		want("down", 200, 1, 8)
		want("down", 200, 0, 9)
		want("too much for this gateway alone", 429, 0, 9)
		store.err = nil
		want("too much for this gateway alone", 429, 0, 9)
		asks(rt, "192.0.2.9:1")
		asks(rt, "192.0.2.9:1", "X-Api-Key: other")
		last := store.asked[len(store.asked)-2:]
		if slices.Contains(last, store.asked[0]) || last[0] == last[1] {
			t.Errorf("accounts %q", store.asked)
		}
		for _, account := range store.asked {
			if len(account) != 32 || strings.Trim(account, "0123456789abcdef") != "" {
				t.Errorf("an account is called %q", account)
			}
		}
		if d := fmt.Sprint(rt.Explain(asked(key)).Steps); !strings.Contains(d, "429") || strings.Contains(d, "secret") || len(store.asked) != 11 {
			t.Errorf("Explain says %s, after %d calls", d, len(store.asked))
		}
		time.Sleep(time.Second) // of the bubble's
		if d := fmt.Sprint(rt.Explain(asked(key)).Steps); !strings.Contains(d, `ByHeader("X-Api-Key")`) || !strings.Contains(d, "others") || len(store.asked) != 11 {
			t.Errorf("Explain says %s, after %d calls", d, len(store.asked))
		}
	})
}

func asked(line string) *http.Request {
	r := request("GET", "/")
	r.RemoteAddr = "192.0.2.1:1"
	name, value, _ := strings.Cut(line, ": ")
	r.Header.Set(name, value)
	return r
}

type uncomparable struct{ limitStoreFunc }
type limitStoreFunc func()

func (limitStoreFunc) Take(context.Context, string, time.Duration, int) (time.Duration, int, error) {
	return 0, 0, nil
}

func TestLimitsThatAreNone(t *testing.T) {
	for want, limit := range map[string]router.Limit{
		"without a Rate":            {By: router.ByHeader("X-Api-Key"), InFlight: 1},
		"a By or a Store":           {Store: new(limitStore)},
		"no name of a field":        {Rate: 1, By: router.ByHeader("X Api Key")},
		"ByHeader is empty":         {Rate: 1, By: router.ByHeader("")},
		"want Host(...)":            {Rate: 1, By: router.ByHeader("host")},
		"no name of a cookie":       {Rate: 1, By: router.ByCookie("a=b")},
		"has no function":           {Rate: 1, By: router.ByFunc("x", nil)},
		"ByFunc is empty":           {Rate: 1, By: router.ByFunc("", func(*http.Request) string { return "" })},
		"nil pointer":               {Rate: 1, Store: (*limitStore)(nil)},
		"want a pointer":            {Rate: 1, Store: uncomparable{}},
		"want nothing negative":     {Rate: -1},
		"it bounds nothing":         {},
		"a Burst without a Rate":    {Burst: 3},
		"want 1.1574074074074073e-": {Rate: 1e-9},
	} {
		if _, err := router.NewLimiter("x", limit); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", limit, err, want)
		}
		if limit == (router.Limit{}) {
			continue
		}
		if _, err := router.New(router.Options{}, router.Rule{Name: "x", To: say("x"), Limit: limit}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a rule with %+v: %v, want %s", limit, err, want)
		}
	}
	if _, err := router.NewLimiter("", router.Limit{Rate: 1}); err == nil {
		t.Error("a limiter without a name")
	}
}

// TestLimiter: it bounds what passes it, is explained, hides nothing from proofs, and
// behind who has found out who asks it goes by that.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := router.NewLimiter("users", router.Limit{Rate: 1, Burst: 2, InFlight: 10, By: router.ByHeader("X-Remote-User")})
		if err != nil {
			t.Fatal(err)
		}
		verified := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("X-Remote-User", "alice")
				next.ServeHTTP(w, r)
			})
		}
		origin := say("origin")
		rt := mustNew(t, router.Rule{Name: "all", To: origin, Use: []func(http.Handler) http.Handler{verified, l.Handler}})
		for i, want := range []int{200, 200, 429} {
			w := asks(rt, fmt.Sprintf("192.0.2.%d:1", i), "X-Remote-User: mallory")
			if w.Code != want || (w.Header().Get("Retry-After") != "") != (want == 429) {
				t.Errorf("request %d: %d %v", i, w.Code, w.Header())
			}
		}
		if d := l.Handler(origin).(interface{ Wraps() []http.Handler }).Wraps(); len(d) != 1 {
			t.Errorf("it wraps %v", d)
		}
		r := l.Report()
		if r.Metrics[0].Value != 3 || r.Metrics[1].Value != 1 {
			t.Errorf("it reports %+v", r.Metrics)
		}
	})
}
