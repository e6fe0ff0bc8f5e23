package fcgi

import (
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
