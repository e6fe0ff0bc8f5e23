//go:build !linux

package balancer

import "net"

const kernelCounts = false

// moved cannot tell here, so that relays copy and count by themselves.
func moved(net.Conn) (uint64, bool) { return 0, false }

func dead(net.Conn) bool { return false }

func ended(net.Conn) bool { return false }

func received(net.Conn) bool { return false }
