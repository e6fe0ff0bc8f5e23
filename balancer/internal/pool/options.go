package pool

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/foretier/foretier/internal/given"
)

// A validator says what is wrong with itself before it is used.
type validator interface{ Validate() error }

// Check says which of the named parts is no part, or says of itself what is wrong.
func Check(parts map[string]any) error {
	for name, p := range parts {
		if given.Typed(p) {
			return fmt.Errorf("balancer: %s is a nil %T: the constructor that returned it has failed", name, p)
		}
		if v, ok := p.(validator); ok {
			if err := v.Validate(); err != nil {
				return fmt.Errorf("balancer: %w", err)
			}
		}
	}
	return nil
}

// WithDefaults fills in what l leaves out, and checks the rest. what it limits is for
// the error.
func (l Limits) WithDefaults(what string) (Limits, error) {
	if l.InFlight == 0 && (l.Queue > 0 || l.Wait > 0) {
		return l, fmt.Errorf("balancer: Limits have a Queue or a Wait and no InFlight, so nothing would ever wait: want the number of %s that a backend gets at once", what)
	}
	if l.InFlight < 0 || l.Streams < 0 || l.Wait < 0 {
		return l, errors.New("balancer: the figures of Limits, but for Queue, are not negative")
	}
	l.Queue = cmp.Or(l.Queue, 128)
	l.Wait = cmp.Or(l.Wait, 5*time.Second)
	return l, nil
}
