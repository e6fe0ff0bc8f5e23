package drivertest

import (
	"testing"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/storetest"
)

// TestContract: at each isolation level that somebody may have set.
func TestContract(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		levels := map[string][]string{"as it comes": nil}
		if d.server != nil {
			for _, level := range []string{"READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"} {
				levels[level] = []string{d.isolate(level)}
			}
		}
		for name, settings := range levels {
			t.Run(name, func(t *testing.T) {
				store := d.store(t, d.open(settings...))
				storetest.Run(t, func(*testing.T) session.Store { return store })
			})
		}
	})
}
