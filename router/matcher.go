package router

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/router/internal/proof"
)

// A Matcher is one condition on a request, as data. Those of this package are
// all there are: what they cannot say, [Test] says with a function. Matchers
// are immutable and safe for concurrent use.
type Matcher interface {
	// Match reports whether the request meets the condition. It fits the
	// Refuse option of a pool, where it judges the outgoing request.
	Match(*http.Request) bool
	// String is the condition in the words of this package.
	String() string

	// match is Match for one reading of the path.
	match(*view) bool
	// check says why no rule can use the matcher.
	check() error
	// parameters names the path parameters that every matching request has.
	parameters() []string
	// bind returns the path parameters of v, which matches, if it has any.
	bind(v *view) params
	// tell adds to a space what the matcher tells apart.
	tell(*proof.Space)
	// says returns which requests of a class match, or of all paths if the class is
	// nil.
	says(*proof.Space, *proof.Class) proof.Formula
}

// noParams is embedded by matchers without parameters.
type noParams struct{}

func (noParams) parameters() []string { return nil }
func (noParams) bind(*view) params    { return params{} }

// A view is a request with one of its readings chosen.
type view struct {
	r    *http.Request
	rd   *readings
	path string
}

// readsMore says that the condition reads of the request more than its method,
// scheme, host and target. Whoever does calls it: what an edge has learned of one request
// holds for others that only differ there.
func (v *view) readsMore() {
	if v.rd != nil {
		v.rd.beyond = true
	}
}

// shows says that the condition shows the request to somebody else's function, which may
// keep it.
func (v *view) shows() {
	if v.rd != nil {
		v.rd.shown = true
	}
}

// readsQuery says that the condition reads the query, or may: another query might have
// led the request elsewhere.
func (v *view) readsQuery() {
	if v.rd != nil {
		v.rd.byQuery = true
	}
}

// matchRequest judges r on its own, outside of a router: by its canonical path.
// A path without an honest reading matches nothing that looks at the path.
func matchRequest(m Matcher, r *http.Request) bool {
	rd := readRequest(r)
	return m.match(&view{r: r, rd: &rd, path: rd.Canonical})
}

// list renders arguments for String.
func list[T any](name string, args []T) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte('(')
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		switch a := any(a).(type) {
		case string:
			fmt.Fprintf(&b, "%q", a)
		default:
			fmt.Fprint(&b, a)
		}
	}
	b.WriteByte(')')
	return b.String()
}

func notEmpty(name string, n int) error {
	if n == 0 {
		return fmt.Errorf("%s is empty", name)
	}
	return nil
}

// A condition is a matcher as the prover asks it.
type condition struct{ Matcher }

func asCondition(m Matcher) proof.Condition {
	if m == nil {
		return nil
	}
	return condition{m}
}

func (c condition) Tell(d *proof.Space) { c.Matcher.tell(d) }
func (c condition) Says(d *proof.Space, class *proof.Class) proof.Formula {
	return c.Matcher.says(d, class)
}
