package router

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/foretier/foretier/internal/transit"
)

// A pupil is a handler that is asked whether the lesson has come so far.
type pupil struct{ taught bool }

func (p *pupil) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	p.taught = transit.From(r.Context()).Lesson.Takes(p)
}

// learns serves one request by rt, to which the lesson is handed, and returns
// whether it has come to p, and the stages.
func learns(rt *Router, p *pupil, path string) (bool, []transit.Stage) {
	r := httptest.NewRequest("GET", path, nil)
	ctx, rec := transit.With(r.Context())
	rec.Lesson.Hand(rt)
	rt.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	_, stages := rec.Lesson.Learned()
	return p.taught, stages
}

// TestALessonGoesOnlyWhereNothingElseWasRead: of a rule that asks for more than
// method, scheme, host and target, and of what stands behind one that was asked, an edge
// learns nothing.
func TestALessonGoesOnlyWhereNothingElseWasRead(t *testing.T) {
	yes := Test("yes", func(*http.Request) bool { return false })
	net := netip.MustParsePrefix("192.0.2.0/24")
	p := new(pupil)
	split, err := NewSplit("arm", Arm{Name: "a", Weight: 1, To: p})
	if err != nil {
		t.Fatal(err)
	}
	same := func(next http.Handler) http.Handler { return next }
	for name, c := range map[string]struct {
		rules []Rule
		path  string
		want  bool
	}{
		"everything":                {rules: []Rule{{}}, want: true},
		"path":                      {rules: []Rule{{When: Path("/a/*")}}, want: true},
		"method, host, admin":       {rules: []Rule{{When: All(Method("GET"), Not(Host("other.example")), Not(Admin("/admin")))}}, want: true},
		"two readings":              {rules: []Rule{{When: Path("/a/*")}}, path: "/a/b;c", want: true},
		"a larger body":             {rules: []Rule{{MaxBody: 1}}, want: true},
		"behind another":            {rules: []Rule{{When: Path("/b")}, {}}, want: true},
		"header":                    {rules: []Rule{{When: Not(Header("X-Beta"))}}},
		"cookie":                    {rules: []Rule{{When: Not(Cookie("beta"))}}},
		"query, scheme, suffix":     {rules: []Rule{{When: All(Not(Query("beta")), Scheme("http"), PathSuffix("b"))}}, want: true},
		"a part of a header":        {rules: []Rule{{When: Not(HeaderContains("X-Beta", "1"))}}},
		"an expression":             {rules: []Rule{{When: Not(HeaderRegexp("X-Beta", "1"))}}},
		"client":                    {rules: []Rule{{When: Client(net)}}},
		"function":                  {rules: []Rule{{When: Not(yes)}}},
		"behind a header":           {rules: []Rule{{When: Header("X-Beta")}, {}}},
		"behind a client":           {rules: []Rule{{When: Any(Path("/b"), Client(netip.MustParsePrefix("203.0.113.0/24")))}, {}}},
		"a header nobody asked for": {rules: []Rule{{When: All(Path("/b"), Header("X-Beta"))}, {}}, want: true},
		"a header for a reading":    {rules: []Rule{{When: All(Path("/a/b;c"), Header("X-Beta"))}, {}}, path: "/a/b;c"},
		"Allow":                     {rules: []Rule{{Allow: []netip.Prefix{net}}}},
		"Limit":                     {rules: []Rule{{Limit: Limit{InFlight: 10}}}},
		"Use":                       {rules: []Rule{{Use: []func(http.Handler) http.Handler{same}}}},
		"Split":                     {rules: []Rule{{To: split}}},
		"somebody's":                {rules: []Rule{{To: http.HandlerFunc(p.ServeHTTP)}}},
	} {
		t.Run(name, func(t *testing.T) {
			*p = pupil{}
			rules := append(c.rules[:len(c.rules):len(c.rules)], Rule{Name: "rest", To: http.NotFoundHandler()})
			for i := range c.rules {
				rules[i].Name = string(rune('a' + i))
				if rules[i].To == nil {
					rules[i].To = p
				}
			}
			if rules[len(c.rules)-1].When == nil {
				rules = rules[:len(c.rules)]
			}
			rt, err := New(Options{}, rules...)
			if err != nil {
				t.Fatal(err)
			}
			if c.path == "" {
				c.path = "/a/b"
			}
			if got, _ := learns(rt, p, c.path); got != c.want {
				t.Errorf("taught: %t, want %t", got, c.want)
			}
		})
	}
}

// TestALessonEndsWithUpdate: also one that began before, and is told after.
func TestALessonEndsWithUpdate(t *testing.T) {
	p := new(pupil)
	rt, err := New(Options{}, Rule{Name: "a", To: p})
	if err != nil {
		t.Fatal(err)
	}
	_, before := learns(rt, p, "/")
	if len(before) != 1 || !before[0].Holds() || rt.Report().Parts[0].Metrics[0].Value != 1 {
		t.Fatalf("before: %v", before)
	}
	if err := rt.Update(Rule{Name: "a", To: p}); err != nil {
		t.Fatal(err)
	}
	if before[0].Holds() {
		t.Error("holds after Update")
	}
	_, after := learns(rt, p, "/")
	if len(after) != 1 || !after[0].Holds() || after[0].Counts != before[0].Counts {
		t.Errorf("after: %v", after)
	}
}

// TestALessonGoesThroughRouters: a rule's handler may be a router.
func TestALessonGoesThroughRouters(t *testing.T) {
	p := new(pupil)
	inner, err := New(Options{}, Rule{Name: "in", To: p})
	if err != nil {
		t.Fatal(err)
	}
	outer, err := New(Options{}, Rule{Name: "out", To: inner})
	if err != nil {
		t.Fatal(err)
	}
	if ok, stages := learns(outer, p, "/"); !ok || len(stages) != 2 {
		t.Errorf("taught: %t by %d", ok, len(stages))
	}
}

// TestWhatRulesHaveGoneBy: caches take several URLs for one only where no rule that was
// asked looks at the query.
func TestWhatRulesHaveGoneBy(t *testing.T) {
	no := Test("no", func(*http.Request) bool { return false })
	var got transit.Choice
	to := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = transit.From(r.Context()).Choice })
	inner, err := New(Options{}, Rule{Name: "q", When: Query("q"), To: to}, Rule{Name: "rest", To: to})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := New(Options{}, Rule{Name: "rest", To: to})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		when Matcher
		to   http.Handler
		path string
		want transit.Choice
	}{
		"path":                {Path("/a"), to, "/a?q", transit.ByTheRest},
		"header":              {Header("X"), to, "/a?q", transit.ByTheRest},
		"query":               {Query("q"), to, "/a?q", transit.ByQuery},
		"another query":       {Query("q"), to, "/a", transit.ByQuery},
		"function":            {no, to, "/a?q", transit.ByQuery},
		"query not asked":     {All(Path("/b"), Query("q")), to, "/a?q", transit.ByTheRest},
		"for another reading": {All(Path("/a/b;c"), Query("q")), to, "/a/b;c?q", transit.ByQuery},
		"of a router below":   {Path("/a"), inner, "/a?q", transit.ByQuery},
		"of the router above": {Query("q"), plain, "/a?q", transit.ByQuery},
		"of none of them":     {Path("/a"), plain, "/a?q", transit.ByTheRest},
	} {
		rt, err := New(Options{}, Rule{Name: "a", When: c.when, To: c.to}, Rule{Name: "rest", To: to})
		if err != nil {
			t.Fatal(err)
		}
		if rt.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", c.path, nil)); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}
