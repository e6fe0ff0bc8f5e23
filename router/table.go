package router

import (
	"fmt"

	"github.com/foretier/foretier/router/internal/proof"
)

// A table is a checked list of rules, never modified.
type table []*compiled

func compileTable(rules []Rule) (table, error) {
	t, err := compileRules(rules)
	if conflict := t.conflict(); conflict != nil {
		err = conflict // of rules before the one that cannot be compiled
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if len(t) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrRules)
	}
	if last := t[len(t)-1]; last.When != nil {
		return nil, fmt.Errorf("%w: no rule takes what the others leave: the last, %q, must have a nil When", ErrRules, last.Name)
	}
	t.findRuns()
	return t, nil
}

// compileRules returns the rules up to the first that is in error.
func compileRules(rules []Rule) (table, error) {
	t := make(table, 0, len(rules))
	for _, r := range rules {
		c, err := compileRule(r)
		if err != nil {
			return t, err
		}
		t = append(t, c)
	}
	return t, nil
}

// conflict says which rule cannot stand behind which.
func (t table) conflict() error {
	var conditions []proof.Condition
	for _, c := range t {
		conditions = append(conditions, asCondition(c.When))
	}
	known := proof.NewCoverage(conditions)
	for j, later := range t {
		for i, earlier := range t[:j] {
			switch {
			case earlier.Name == later.Name:
				return fmt.Errorf("two rules are named %q", later.Name)
			case earlier.When == nil:
				return fmt.Errorf("rule %q is never reached: %q before it takes everything", later.Name, earlier.Name)
			case later.When == nil:
			case earlier.words == later.words:
				return fmt.Errorf("rule %q is never reached: %q before it has the same condition, %s", later.Name, earlier.Name, later.words)
			case known.Covers(i, j):
				return fmt.Errorf("rule %q is never reached: all that %s takes is taken by %q before it, %s",
					later.Name, later.words, earlier.Name, earlier.words)
			}
		}
	}
	return nil
}

// pick returns the index of the rule that takes v: the last rule takes what is
// left.
func (t table) pick(v *view) int {
	for i := 0; i < len(t); i++ {
		r := t[i].run
		if r == nil {
			if t[i].matches(v) {
				return i
			}
			continue
		}
		if found := r.pick(t, v); found >= 0 {
			return found
		}
		i = r.end - 1
	}
	return len(t) - 1
}

// agree reports whether every reading of v's request falls under rule i.
func (t table) agree(v *view, i int) bool {
	for _, path := range v.rd.Others {
		if t.pick(&view{r: v.r, rd: v.rd, path: path}) != i {
			return false
		}
	}
	return true
}
