//go:build !unix

package wire

import (
	"errors"
	"net"
	"syscall"

	"github.com/foretier/foretier/internal/http1"
)

// late is there on Unix only; elsewhere it is nil.
type late struct{}

func newLate(net.Conn) *late { return nil }

func (*late) read(syscall.RawConn, http1.Room) (int, error) { return 0, errors.ErrUnsupported }
