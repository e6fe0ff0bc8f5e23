package storetest_test

import (
	"testing"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/storetest"
)

// A store's own tests hold it against the contract.
func ExampleRun() {
	TestContract := func(t *testing.T) {
		storetest.Run(t, func(*testing.T) session.Store { return session.Memory() })
	}
	_ = TestContract
}
