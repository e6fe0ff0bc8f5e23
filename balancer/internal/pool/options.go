package pool

import "fmt"

// A validator says what is wrong with itself before it is used.
type validator interface{ Validate() error }

// Validate asks each of parts that can tell.
func Validate(parts ...any) error {
	for _, p := range parts {
		if v, ok := p.(validator); ok {
			if err := v.Validate(); err != nil {
				return fmt.Errorf("balancer: %w", err)
			}
		}
	}
	return nil
}
