//go:build !linux

package wire

import "sync/atomic"

// A watch is there on Linux only; elsewhere it is nil.
type watch struct{}

type watched struct {
	left atomic.Bool
	gone atomic.Pointer[func()]
}

func newWatch(bool) *watch      { return nil }
func (*watch) add(*Conn) bool   { return false }
func (*watch) await(*Conn) bool { return false }
func (*watch) forget(*Conn)     {}
func (*watch) close()           {}
