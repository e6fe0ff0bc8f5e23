package router_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

// Explain tells with what a rule answers itself, as serving then does.
func TestExplainAgreesWithServing(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	upload := func(n int64) func(*http.Request) {
		return func(r *http.Request) { r.Method, r.ContentLength = "POST", n }
	}
	cases := map[string]struct {
		rule   router.Rule
		before int // requests
		edit   func(*http.Request)
		want   int // 204: served
	}{
		"served":               {router.Rule{}, 0, upload(router.DefaultMaxBody), 204},
		"over the default":     {router.Rule{}, 0, upload(router.DefaultMaxBody + 1), 413},
		"over the rule's":      {router.Rule{MaxBody: 10}, 0, upload(11), 413},
		"at the rule's":        {router.Rule{MaxBody: 10}, 0, upload(10), 204},
		"no limit":             {router.Rule{MaxBody: -1}, 0, upload(1 << 40), 204},
		"of unknown length":    {router.Rule{MaxBody: 10}, 0, upload(-1), 204},
		"not allowed":          {router.Rule{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0, upload(0), 403},
		"within the rate":      {router.Rule{Limit: router.Limit{Rate: 0.001, Burst: 2}}, 1, upload(0), 204},
		"over the rate":        {router.Rule{Limit: router.Limit{Rate: 0.001, Burst: 2}}, 2, upload(0), 429},
		"not allowed, too big": {router.Rule{MaxBody: 10, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0, upload(11), 403},
	}
	for name, c := range cases {
		c.rule.Name, c.rule.To = "page", page
		rt := mustNew(t, c.rule)
		for range c.before {
			rt.ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
		}
		r := request("GET", "/")
		c.edit(r)
		for range 3 { // it counts nothing
			steps := strings.Join(rt.Explain(r).Steps, "|")
			if c.want == 204 && steps != "" || c.want != 204 && !strings.HasPrefix(steps, fmt.Sprint(c.want, ": ")) {
				t.Errorf("%s: Explain: %q, want %d", name, steps, c.want)
			}
		}
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: serving: %d, want %d", name, w.Code, c.want)
		}
	}
}

// A bottom is a handler below a router: it says what it was asked.
type bottom struct {
	name   string
	status int
}

func (b bottom) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Served", b.name+" "+r.URL.RequestURI())
	w.WriteHeader(b.status)
}

func (b bottom) Explain(r *http.Request) health.Decision {
	return health.Decision{Part: "bottom", Verdict: fmt.Sprint(b.status), Why: b.name + " " + r.URL.RequestURI()}
}

// foretold is the answer that a router's decision says a request will get.
func foretold(d health.Decision) (status, served string) {
	switch {
	case d.Part == "bottom":
		return d.Verdict, d.Why
	case d.Part == "redirect":
		return d.Verdict, strings.TrimPrefix(d.Why, "to ")
	case d.Part == "fallback" && len(d.Next) == 2: // on 404 it asks the second
		if status, served := foretold(d.Next[0]); status != "404" {
			return status, served
		}
		return foretold(d.Next[1])
	case len(d.Next) > 0:
		return foretold(d.Next[0])
	case len(d.Steps) > 0:
		if status, _, ok := strings.Cut(d.Steps[len(d.Steps)-1], ": "); ok && len(status) == 3 {
			return status, "" // the rule's own answer
		}
	}
	return d.Verdict, ""
}

// What Explain says of a request is what serving it then does, for every table.
func TestServesWhatItHasExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // limits go by the clock
		c := newCorpus()
		seen := make(map[string]int)
		for range 400 {
			rules := c.rules(func(name string) http.Handler {
				return c.handler(name, 2, func(name string) http.Handler { return bottom{name, pick(c, 200, 200, 404, 503)} })
			})
			rt, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)}, rules...)
			if err != nil {
				t.Fatal(err)
			}
			for range 60 {
				r := c.request()
				r.ContentLength = int64(pick(c, 0, 0, 0, 10, 11))
				if c.IntN(4) == 0 {
					r.AddCookie(&http.Cookie{Name: "try", Value: pick(c, "a", "b", "c")})
				}
				d := rt.Explain(r)
				status, served := foretold(d)
				if again := rt.Explain(r); again.String() != d.String() {
					t.Fatalf("%s %s: explained\n%s\nand then\n%s", r.Method, r.RequestURI, d, again)
				}
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, r)
				got, by := fmt.Sprint(w.Code), w.Header().Get("Served")+w.Header().Get("Location")
				if got != status || by != served {
					t.Fatalf("%s %s of %s from %s: got %s by %q, explained was %s by %q:\n%s",
						r.Method, r.RequestURI, r.Host, r.RemoteAddr, got, by, status, served, d)
				}
				seen[status]++
				if strings.Contains(d.String(), "goes on") {
					seen["canonical"]++
				}
			}
		}
		for _, of := range []string{"200", "308", "400", "403", "404", "413", "429", "503", "canonical"} {
			if seen[of] < 20 {
				t.Errorf("%s: only %d times: %v", of, seen[of], seen)
			}
		}
	})
}

// While all that a rule serves at once are there, one more is explained and refused
// alike.
func TestExplainsAFullRule(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	rt := mustNew(t, router.Rule{Name: "page", Limit: router.Limit{InFlight: 1}, To: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-leave
	})})
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { rt.ServeHTTP(httptest.NewRecorder(), request("GET", "/").WithContext(ctx)) })
	<-entered
	status, _ := foretold(rt.Explain(request("GET", "/")))
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, request("GET", "/"))
	if status != "429" || w.Code != 429 {
		t.Errorf("full: explained as %s, served with %d", status, w.Code)
	}
	leave <- true
	wg.Wait()
	if status, _ := foretold(rt.Explain(request("GET", "/"))); status == "429" {
		t.Error("it is explained as full when nobody is there")
	}
}

// A witness is asked and serves, and tells what it got each time.
type witness struct{ got []string }

func (h *witness) see(r *http.Request) {
	rec := transit.From(r.Context())
	h.got = append(h.got, fmt.Sprint(r.URL.RequestURI(), r.Header["Cookie"], r.PathValue("id"), rec.Space, rec.Terms, transit.Client(r), r.Context().Value(witnessKey{})))
}

type witnessKey struct{}

func (h *witness) ServeHTTP(_ http.ResponseWriter, r *http.Request) { h.see(r) }
func (h *witness) Healthy(r *http.Request) bool                     { h.see(r); return true }
func (h *witness) Explain(r *http.Request) health.Decision          { h.see(r); return health.Decision{} }

// Who is asked about a request gets it as who serves it, and what is being served
// meanwhile stays as it is.
func TestQuestionsAreAboutWhatIsServed(t *testing.T) {
	w := new(witness)
	split, err := router.NewSplit("try", router.Arm{Name: "a", Weight: 1, To: w}, router.Arm{Name: "b", To: w})
	if err != nil {
		t.Fatal(err)
	}
	rt := mustNew(t,
		router.Rule{Name: "p", When: router.Path("/p/{id}"), To: split, Retry: router.RetryNever},
		router.Rule{Name: "rest", To: split, Streams: true},
	)
	for _, target := range []string{"/p/7", "/x/../p/7;y", "/", "/x/../", "/%2561"} {
		w.got = nil
		r := request("GET", target)
		r.Header.Set("Cookie", "c=d; try=b")
		ctx, rec := transit.With(context.WithValue(r.Context(), witnessKey{}, "of the user"))
		r = r.WithContext(ctx)
		rt.Explain(r)
		rt.Healthy(r)
		if rec.Space != "" || rec.Terms != (transit.Terms{}) {
			t.Errorf("%s: questions changed the record: %q, %v", target, rec.Space, rec.Terms)
		}
		rt.ServeHTTP(httptest.NewRecorder(), r)
		if len(w.got) != 3 || w.got[0] != w.got[2] || w.got[1] != w.got[2] || !strings.Contains(w.got[2], "try=b;") {
			t.Errorf("%s: explained, healthy and served:\n%s", target, strings.Join(w.got, "\n"))
		}
	}
}
