package drivertest

import (
	"testing"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/sqlstore"
	"github.com/foretier/foretier/session/storetest"
)

// TestContract: at each isolation level that somebody may have set, and with other
// settings that change what statements mean or how they are sent.
func TestContract(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		levels := map[string][]string{"as it comes": nil}
		switch d.dialect {
		case sqlstore.MySQL:
			levels["in New York, and not strict"] = []string{"time_zone='-05:00'", "sql_mode='ANSI_QUOTES,SIMULTANEOUS_ASSIGNMENT'", "sql_safe_updates=1"}
			levels["rows are counted that were found"] = []string{"clientFoundRows=true", "interpolateParams=true"}
		case sqlstore.PostgreSQL:
			levels["in New York"] = []string{"TimeZone=America/New_York"}
			levels["through a pooler"] = []string{"mode=simple_protocol"}
			levels["nothing prepared"] = []string{"mode=exec"}
		}
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

// TestContractWithoutALog: SQLite as it is unless it is told otherwise.
func TestContractWithoutALog(t *testing.T) {
	d := sqlite(t)
	store := d.store(t, d.open("_pragma=busy_timeout(1000)"))
	storetest.Run(t, func(*testing.T) session.Store { return store })
}
