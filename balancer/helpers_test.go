package balancer

import "github.com/foretier/foretier/internal/testkit"

// patience bounds what must come soon, on a machine that may be slow.
const patience = testkit.Patience

// foremost picks the first.
type foremost struct{}

func (foremost) Pick(PickInfo, Candidates) int { return 0 }
