//go:build !unix

package edge

import (
	"errors"
	"net"
	"os"
)

func descriptorOf(net.Listener) (*os.File, error) { return nil, errors.ErrUnsupported }

func closeOnExec(int) {}
