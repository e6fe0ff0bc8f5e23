// Package routertest tests a router's rules without servers or sockets.
//
//	func TestRules(t *testing.T) {
//		front := newFront(t)
//		routertest.Table(t, front,
//			routertest.Row{Target: "/product/1", Rule: "shop"},
//			routertest.Row{Method: "PUT", Target: "/media/a.png", Rule: "upload"},
//			routertest.Row{Target: "/%61dmin", Rule: "admin"},
//		)
//		routertest.Table(t, front,
//			routertest.Row{Target: "/old.html", Status: 301, Has: []string{"Location: /new"}, Pool: routertest.None},
//			routertest.Row{Target: "/intern", Client: "203.0.113.9", Status: 403},
//			routertest.Row{Method: "POST", Target: "/media/a.png", Pool: "origin"},
//		)
//		routertest.Bypass(t, front, "/admin")
//		routertest.Reaches(t, front, "origin", "/admin", "/cron.php")
//	}
//
// A failure shows the router's own explanation.
package routertest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/trial"
)

// A Front is what is tested: a router.Router, or what stands in front of one, such as an
// edge.Server or an edgetest.Front.
type Front interface {
	http.Handler
	health.Explainer
}

// A Row is a request, the rule that must take it, and the answer that must come. The rule
// and the pool are what the front explains; it is served only where something of the
// answer is said.
type Row struct {
	Method string      // empty means GET
	Target string      // as in the request line: "/a%2Fb?c", "http://shop.example/a"
	Host   string      // empty means shop.example
	Client string      // who asks, ip:port or ip; empty means 192.0.2.1
	Peer   string      // a proxy through which it comes, which says so in X-Forwarded-For; empty means none
	Header http.Header // further fields
	Send   string      // the request's body
	Secure bool        // it comes over TLS

	// Rule is the name of the rule that takes it. Empty means that the request is refused
	// with 400; or, where one of the following is said, that the rule is not looked at.
	Rule string
	// Pool is the name of the one pool that it may reach, [None] that it may reach none.
	Pool   string
	Status int
	Body   string   // a part of the answer's body
	Has    []string // fields of the answer: "Name: part of the value", or "!Name" for one that must not be there
}

// None is no pool: what a request reaches that the tier answers by itself.
const None = "none"

// Table checks each row against the front, one after the other.
func Table(t testing.TB, front Front, rows ...Row) {
	t.Helper()
	for _, row := range rows {
		r, err := row.request(t)
		if err != nil {
			if row.Rule != "" || row.expects() {
				t.Errorf("%s: the standard server refuses it: %v", row.Target, err)
			}
			continue
		}
		d := front.Explain(trial.Clone(r))
		var differs []string
		if got := rule(d); got != row.Rule && (row.Rule != "" || !row.expects()) {
			differs = append(differs, fmt.Sprintf("%s, want it %s", taken(got), taken(row.Rule)))
		}
		if row.Pool != "" {
			if wrong := reached(d).beside(row.Pool); wrong != "" {
				differs = append(differs, wrong)
			}
		}
		if row.answered() {
			want := trial.Want{Status: row.Status, Body: row.Body, Has: row.Has}
			differs = append(differs, want.Differs(trial.Ask(front, r))...)
		}
		if len(differs) > 0 {
			t.Errorf("%s", trial.Failure(r.Method+" "+row.Target, differs, d.String()))
		}
	}
}

// answered reports whether something is said of the answer.
func (row *Row) answered() bool { return row.Status != 0 || row.Body != "" || row.Has != nil }

// expects reports whether something else is said than the rule.
func (row *Row) expects() bool { return row.answered() || row.Pool != "" }

// Bypass checks that the known ways of writing a path below prefix so that it
// looks like another one all fall under the rule that takes prefix itself, or
// are refused. It fails if nothing tells prefix from any other path.
func Bypass(t testing.TB, front Front, prefix string) {
	t.Helper()
	plain := Row{Target: prefix}
	r, err := plain.request(t)
	if err != nil {
		t.Fatalf("%s: %v", prefix, err)
	}
	want := rule(front.Explain(r))
	if other, err := (&Row{Target: "/routertest-other"}).request(t); err == nil && rule(front.Explain(other)) == want {
		t.Errorf("%s falls under rule %q like every other path", prefix, want)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, "FOO"} {
		for _, target := range Forms(prefix) {
			row := Row{Method: method, Target: target}
			r, err := row.request(t)
			if err != nil {
				continue // refused
			}
			d := front.Explain(r)
			if got := rule(d); got != "" && got != want {
				t.Errorf("%s %s: taken by rule %q, but %s by %q\n%s", method, target, got, prefix, want, d)
			}
		}
	}
}

// request is what the standard server makes of the row.
func (row *Row) request(t testing.TB) (*http.Request, error) {
	q := trial.Request{
		Method: row.Method, Target: row.Target, Host: row.Host, Client: row.Client, Peer: row.Peer, Body: row.Send, Secure: row.Secure,
	}
	for name, values := range row.Header {
		for _, v := range values {
			q.Fields = append(q.Fields, name+": "+v)
		}
	}
	return q.HTTP(t.Context())
}

// rule returns the name of the first rule in a decision, "" for a refusal.
func rule(d health.Decision) string {
	if name, ok := strings.CutPrefix(d.Verdict, "rule "); ok {
		return strings.Trim(name, `"`)
	}
	for _, next := range d.Next {
		if name := rule(next); name != "" {
			return name
		}
	}
	return ""
}

// taken says by which rule a request is taken.
func taken(by string) string {
	if by == "" {
		return "taken by no rule"
	}
	return fmt.Sprintf("taken by rule %q", by)
}
