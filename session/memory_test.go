package session_test

import (
	"testing"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/storetest"
)

func TestMemoryContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) session.Store { return session.Memory() })
}
