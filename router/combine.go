package router

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/router/internal/proof"
)

type allMatcher []Matcher

// All matches if every one of ms does. It asks them in order, up to the first
// that does not.
func All(ms ...Matcher) Matcher { return allMatcher(slices.Clone(ms)) }

func (m allMatcher) match(v *view) bool {
	for _, part := range m {
		if !part.match(v) {
			return false
		}
	}
	return true
}

func (m allMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m allMatcher) String() string             { return list("All", m) }
func (m allMatcher) check() error               { return checkAll("All", m) }

// bind returns what the first part that has any finds.
func (m allMatcher) bind(v *view) params {
	for _, part := range m {
		if found := part.bind(v); found.pattern != nil {
			return found
		}
	}
	return params{}
}

func (m allMatcher) parameters() []string {
	for _, part := range m {
		if names := part.parameters(); len(names) > 0 {
			return names
		}
	}
	return nil
}

func (m allMatcher) tell(d *proof.Space) { tellAll(m, d) }
func (m allMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	return proof.All(sayEach(m, d, class, proof.Formula.IsFalse))
}

type anyMatcher []Matcher

// Any matches if one of ms does. It asks them in order, up to the first that
// does.
func Any(ms ...Matcher) Matcher { return anyMatcher(slices.Clone(ms)) }

func (m anyMatcher) match(v *view) bool {
	for _, part := range m {
		if part.match(v) {
			return true
		}
	}
	return false
}

func (m anyMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m anyMatcher) String() string             { return list("Any", m) }
func (m anyMatcher) check() error               { return checkAll("Any", m) }

func (m anyMatcher) bind(v *view) params {
	for _, part := range m {
		if part.match(v) {
			return part.bind(v)
		}
	}
	return params{}
}

func (m anyMatcher) parameters() []string {
	return common(m, Matcher.parameters)
}

func (m anyMatcher) tell(d *proof.Space) { tellAll(m, d) }
func (m anyMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	return proof.Any(sayEach(m, d, class, proof.Formula.IsTrue))
}

type notMatcher struct {
	noParams
	m Matcher
}

// Not matches if m does not.
func Not(m Matcher) Matcher { return notMatcher{m: m} }

func (m notMatcher) match(v *view) bool         { return !m.m.match(v) }
func (m notMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m notMatcher) String() string             { return list("Not", []Matcher{m.m}) }
func (m notMatcher) check() error               { return checkAll("Not", []Matcher{m.m}) }
func (m notMatcher) tell(d *proof.Space)        { m.m.tell(d) }
func (m notMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	return m.m.says(d, class).Not()
}

func checkAll(name string, ms []Matcher) error {
	for _, m := range ms {
		if given.Nil(m) {
			return fmt.Errorf("%s holds a nil Matcher", name)
		}
		if err := m.check(); err != nil {
			return err
		}
	}
	return notEmpty(name, len(ms))
}

// common returns the names that all of list have.
func common[T any](list []T, names func(T) []string) (out []string) {
	for i, of := range list {
		if found := names(of); i == 0 {
			out = slices.Clone(found)
		} else {
			out = slices.DeleteFunc(out, func(name string) bool { return !slices.Contains(found, name) })
		}
	}
	return out
}

func tellAll(ms []Matcher, d *proof.Space) {
	for _, m := range ms {
		m.tell(d)
	}
}

// sayEach returns what ms say, up to the first that decides.
func sayEach(ms []Matcher, d *proof.Space, class *proof.Class, decides func(proof.Formula) bool) []proof.Formula {
	out := make([]proof.Formula, 0, len(ms))
	for _, m := range ms {
		f := m.says(d, class)
		if out = append(out, f); decides(f) {
			break
		}
	}
	return out
}
