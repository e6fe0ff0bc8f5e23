package pool

import (
	"fmt"
	"slices"
)

// A Mode is what an operator wants of a member.
type Mode uint8

const (
	Ready       Mode = iota // it serves
	drain                   // it serves those who are bound to it, for a while
	maintenance             // it serves nobody
)

var modeNames = []string{"ready", "drain", "maintenance"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode returns the mode of that name.
func ParseMode(name string) (Mode, error) {
	i := slices.Index(modeNames, name)
	if i < 0 {
		return 0, fmt.Errorf("balancer: %q is none of ready, drain and maintenance", name)
	}
	return Mode(i), nil
}
