package pool

import (
	"context"
	"fmt"
	"iter"
)

// A Spec is a backend as it is configured.
type Spec struct {
	Name   string
	At     string // where it is: one of the same name somewhere else is another; empty: always another
	Weight int
	Tier   int
	Own    any // what the set's owner keeps of it
}

// Specs returns what each makes of the backends. Their names must differ.
func Specs[B any](backends []B, each func(B) (Spec, error)) ([]Spec, error) {
	specs := make([]Spec, len(backends))
	seen := make(map[string]bool, len(backends))
	for i, b := range backends {
		s, err := each(b)
		if err != nil {
			return nil, err
		}
		if seen[s.Name] {
			return nil, fmt.Errorf("balancer: two backends are named %q: a name is unique within its pool", s.Name)
		}
		seen[s.Name] = true
		specs[i] = s
	}
	return specs, nil
}

// Yield returns what a source of backends yields as specs.
func Yield[B any](source func(context.Context) iter.Seq2[[]B, error], each func(B) (Spec, error)) func(context.Context) iter.Seq2[[]Spec, error] {
	return func(ctx context.Context) iter.Seq2[[]Spec, error] {
		return func(yield func([]Spec, error) bool) {
			for backends, err := range source(ctx) {
				specs, bad := Specs(backends, each)
				if bad != nil {
					specs, err = nil, bad
				}
				if !yield(specs, err) {
					return
				}
			}
		}
	}
}
