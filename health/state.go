package health

import "fmt"

// State is how a backend, or any part, is doing.
type State uint8

const (
	// Unknown has not been judged yet. It ranks after Up and before Degraded.
	Unknown State = iota
	// Up works.
	Up
	// Degraded answers, but badly: errors or slowness, which is soft evidence.
	// When too few others are left it is used all the same.
	Degraded
	// Down does not answer at all: refused, unreachable, or failing its
	// probes. It is used only when nothing else is left.
	Down
)

var stateNames = [...]string{"unknown", "up", "degraded", "down"}

// String returns the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("health: %q is no state", text)
}
