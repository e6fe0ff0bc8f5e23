package router

import (
	"fmt"
	"net/http"
	"reflect"
	"unsafe"

	"github.com/foretier/foretier/router/internal/proof"
)

type testMatcher struct {
	noParams
	name string
	f    func(*http.Request) bool
	id   unsafe.Pointer // tells f from other functions, of which each is asked once
}

// Test matches if f says so. The name stands for f wherever a rule is
// explained, and in proofs: give each function a name of its own. f must be
// safe for concurrent use. A router asks it once a request at most, however many
// rules and readings of the path there are; so it may be slow, a round trip to a
// store perhaps. Two function values are two functions: make the Matcher, or
// f, once and use it in all rules.
func Test(name string, f func(*http.Request) bool) Matcher {
	return testMatcher{name: name, f: f, id: closure(reflect.ValueOf(f))}
}

func (m testMatcher) match(v *view) bool {
	v.readsMore()
	v.readsQuery()
	v.shows()
	return v.rd.once(m.id, func() bool { return m.f(v.r) })
}

func (m testMatcher) Match(r *http.Request) bool { return m.f(r) }
func (m testMatcher) String() string             { return list("Test", []string{m.name}) }
func (m testMatcher) check() error {
	if m.f == nil {
		return fmt.Errorf("%s has no function", m)
	}
	return notEmpty("Test", len(m.name))
}

func (m testMatcher) tell(d *proof.Space) {
	d.AddOpen(m.String(), m.String()+" says no", m.String()+" says yes")
}

func (m testMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Maybe(m.String())
}
