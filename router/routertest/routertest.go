// Package routertest tests a router's rules without servers or sockets.
//
//	func TestRules(t *testing.T) {
//		front := newFront(t)
//		routertest.Table(t, front,
//			routertest.Row{Target: "/product/1", Rule: "shop"},
//			routertest.Row{Method: "PUT", Target: "/media/a.png", Rule: "upload"},
//			routertest.Row{Target: "/%61dmin", Rule: "admin"},
//		)
//		routertest.Bypass(t, front, "/admin")
//	}
//
// A failure shows the router's own explanation.
package routertest

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
)

// A Row is a request and the rule that must take it.
type Row struct {
	Method string      // empty means GET
	Target string      // as in the request line: "/a%2Fb?c", "http://shop.example/a"
	Host   string      // empty means shop.example
	Client string      // who asks, ip:port or ip; empty means 192.0.2.1
	Header http.Header // further fields
	Rule   string      // the rule's name; empty means that the request is refused with 400
}

// Table checks each row against the router.
func Table(t testing.TB, rt *router.Router, rows ...Row) {
	t.Helper()
	for _, row := range rows {
		r, err := row.request()
		if err != nil {
			if row.Rule != "" {
				t.Errorf("%s: the standard server refuses it: %v", row.Target, err)
			}
			continue
		}
		d := rt.Explain(r)
		if got := rule(d); got != row.Rule {
			t.Errorf("%s %s: taken by rule %q, want %q\n%s", r.Method, row.Target, got, row.Rule, d)
		}
	}
}

// Bypass checks that the known ways of writing a path below prefix so that it
// looks like another one all fall under the rule that takes prefix itself, or
// are refused. It fails if nothing tells prefix from any other path.
func Bypass(t testing.TB, rt *router.Router, prefix string) {
	t.Helper()
	plain := Row{Target: prefix}
	r, err := plain.request()
	if err != nil {
		t.Fatalf("%s: %v", prefix, err)
	}
	want := rule(rt.Explain(r))
	if other, err := (&Row{Target: "/routertest-other"}).request(); err == nil && rule(rt.Explain(other)) == want {
		t.Errorf("%s falls under rule %q like every other path", prefix, want)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, "FOO"} {
		for _, target := range Forms(prefix) {
			row := Row{Method: method, Target: target}
			r, err := row.request()
			if err != nil {
				continue // refused
			}
			d := rt.Explain(r)
			if got := rule(d); got != "" && got != want {
				t.Errorf("%s %s: taken by rule %q, but %s by %q\n%s", method, target, got, prefix, want, d)
			}
		}
	}
}

// request is what the standard server makes of the row.
func (row *Row) request() (*http.Request, error) {
	method, host, client := row.Method, row.Host, row.Client
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = "shop.example"
	}
	if client == "" {
		client = "192.0.2.1"
	}
	if !strings.Contains(client, ":") || strings.Count(client, ":") > 1 && !strings.HasPrefix(client, "[") {
		client = "[" + client + "]:1024"
		if !strings.Contains(client[1:len(client)-6], ":") {
			client = strings.NewReplacer("[", "", "]", "").Replace(client)
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, row.Target, host))))
	if err != nil {
		return nil, err
	}
	for name, values := range row.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	r.RemoteAddr = client
	return r, nil
}

// rule returns the rule's name in a router's decision, "" for a refusal.
func rule(d health.Decision) string {
	name, ok := strings.CutPrefix(d.Verdict, "rule ")
	if !ok {
		return ""
	}
	return strings.Trim(name, `"`)
}
