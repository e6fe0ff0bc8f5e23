package pool

// First is the policy of that name.
type First struct{}

func (First) Choose(PickInfo, Candidates) int { return 0 }

func (First) Why() string { return "the first in order" }
