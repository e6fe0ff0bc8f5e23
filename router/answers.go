package router

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

var (
	errMaintenance = transit.Meant(errors.New("router: maintenance"))
	errAuthority   = errors.New("router: this server is not the authority")
	errCrossOrigin = errors.New("router: cross-origin request")
)

// Maintenance answers 503 with the operator's page and says when to come back,
// rounded up to seconds. Stand it in a rule that lets those through who work
// on the shop:
//
//	router.Rule{Name: "maintenance", When: router.Not(router.Client(office)), To: router.Maintenance(10 * time.Minute)}
//
// It reaches no backend, so every [Claim] holds for it: it may be put before a
// table that keeps its claims with [Router.Update] at any time.
func Maintenance(back time.Duration) http.Handler { return &maintenance{back} }

type maintenance struct{ back time.Duration }

// ServeHTTP implements [http.Handler].
func (m *maintenance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", strconv.Itoa(seconds(m.back)))
	transit.Fail(w, r, http.StatusServiceUnavailable, errMaintenance)
}

// Wraps returns nothing: the answer is the tier's own.
func (m *maintenance) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (m *maintenance) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "maintenance", Verdict: "503"}
}

// seconds rounds up, to at least 1.
func seconds(d time.Duration) int {
	return int(max(1, (d+time.Second-1)/time.Second))
}

// NotAuthority answers 403, and X-Refused says why: for admin rules of a tier
// that does not stand before the authoritative server. authority says who
// does, for the person who reads it; it may be empty. It reaches no backend, so
// every [Claim] holds for it.
func NotAuthority(authority string) http.Handler {
	reason := "this server is not the authority for this page"
	if authority != "" {
		reason += "; ask " + authority
	}
	return &notAuthority{reason}
}

type notAuthority struct{ reason string }

// ServeHTTP implements [http.Handler].
func (n *notAuthority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Refused", n.reason)
	transit.Fail(w, r, http.StatusForbidden, errAuthority)
}

// Wraps returns nothing: the answer is the tier's own.
func (n *notAuthority) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (n *notAuthority) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "not the authority", Verdict: "403", Why: n.reason}
}

// SameOrigin is middleware for admin rules: it answers 403 to unsafe requests
// that a browser sends from another site's pages, as
// [http.CrossOriginProtection] tells. Do not use it for a whole shop: the
// return from a bank's payment page is such a request.
func SameOrigin() func(http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	return func(next http.Handler) http.Handler { return &sameOrigin{p, next} }
}

type sameOrigin struct {
	protection *http.CrossOriginProtection
	next       http.Handler
}

// ServeHTTP implements [http.Handler].
func (o *sameOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.protection.Check(r) != nil {
		transit.Fail(w, r, http.StatusForbidden, errCrossOrigin)
		return
	}
	o.next.ServeHTTP(w, r)
}

// Wraps returns what it lets requests through to.
func (o *sameOrigin) Wraps() []http.Handler { return []http.Handler{o.next} }

// Explain implements [health.Explainer].
func (o *sameOrigin) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: "same origin", Verdict: "lets it through"}
	if err := o.protection.Check(r); err != nil {
		d.Verdict, d.Why = "403", err.Error()
		return d
	}
	d.Next = []health.Decision{health.Explain(o.next, r)}
	return d
}

// Redirect sends clients elsewhere with 301, 302, 303, 307 or 308. In the
// target, {path} stands for the path, {query} for the query with its question
// mark, if there is one, both as the client sent them, and {name} for a parameter
// of the rule's Path:
//
//	router.Redirect(308, "https://www.shop.example{path}{query}")
//	router.Redirect(301, "/product/{id}")
//
// A target that is none, and a {name} that not every path of the rule has, are
// errors of [New].
//
// It reaches no backend, so every [Claim] holds for it.
func Redirect(status int, target string) http.Handler { return &redirect{status, target} }

type redirect struct {
	status int
	target string
}

// check says what is wrong with d in a rule whose condition is when.
func (d *redirect) check(when Matcher) error {
	if !slices.Contains([]int{301, 302, 303, 307, 308}, d.status) {
		return fmt.Errorf("Redirect: %d is no redirect", d.status)
	}
	known := []string{"path", "query"}
	if when != nil {
		known = append(when.parameters(), known...)
	}
	plain, err := d.fill(func(name string) (string, error) {
		if !slices.Contains(known, name) {
			return "", fmt.Errorf("Redirect: %q: the rule's condition always has a parameter of {%s}, none is {%s}", d.target, strings.Join(known, "}, {"), name)
		}
		return name, nil
	})
	if err != nil {
		return err
	}
	if strings.HasPrefix(d.target, "{path}") {
		plain = "/" + plain
	}
	u, err := url.Parse(plain)
	unfit := func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' }
	switch {
	case err != nil, strings.ContainsFunc(plain, unfit), u.Host == "" && (u.Scheme != "" || !strings.HasPrefix(plain, "/")):
		return fmt.Errorf("Redirect: %q is neither a URL nor a path: want one such as https://shop.example{path}{query} or /new/{id}", d.target)
	}
	return nil
}

// fill returns the target with a value for each {name} in it.
func (d *redirect) fill(value func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for rest := d.target; ; {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return b.String(), fmt.Errorf("Redirect: %q has a { that is not closed", d.target)
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
		rest = tail
	}
}

// location returns where r is sent.
func (d *redirect) location(r *http.Request) string {
	out, _ := d.fill(func(name string) (string, error) { // check has found no error
		switch name {
		case "path":
			// One slash: two would begin an authority.
			return "/" + strings.TrimLeft(target.Of(r.URL).Path, "/"), nil
		case "query":
			if t := target.Of(r.URL); t.Mark {
				return "?" + target.EscapeQuery(t.Query), nil
			}
			return "", nil
		}
		return target.Segment(r.PathValue(name)), nil
	})
	return out
}

// ServeHTTP implements [http.Handler].
func (d *redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", d.location(r))
	w.WriteHeader(d.status)
}

// Wraps returns nothing: the answer is the tier's own.
func (d *redirect) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (d *redirect) Explain(r *http.Request) health.Decision {
	return health.Decision{Part: "redirect", Verdict: strconv.Itoa(d.status), Why: "to " + d.location(r)}
}
