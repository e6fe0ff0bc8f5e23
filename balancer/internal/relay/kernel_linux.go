package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// kernelCounts says that Moved can tell.
const kernelCounts = true

// Moved returns how many bytes the other end of c has sent and taken. It
// reports false for what is not TCP.
func Moved(c net.Conn) (uint64, bool) {
	info := tcpInfo(c)
	if info == nil {
		return 0, false
	}
	return info.Bytes_received + info.Bytes_acked, true
}

// Dead reports whether the other end has reset c.
func Dead(c net.Conn) bool {
	const closed = 7 // TCP_CLOSE
	info := tcpInfo(c)
	return info != nil && info.State == closed
}

// Ended reports whether the other end of c has ended its half, or all.
func Ended(c net.Conn) bool {
	const closed, closeWait = 7, 8 // TCP_CLOSE, TCP_CLOSE_WAIT
	info := tcpInfo(c)
	return info != nil && (info.State == closed || info.State == closeWait)
}

// received reports whether the other end of c has sent anything.
func received(c net.Conn) bool {
	info := tcpInfo(c)
	return info != nil && info.Bytes_received > 0
}

func tcpInfo(c net.Conn) (info *unix.TCPInfo) {
	t := tcpOf(c)
	if t == nil {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	// Only a closed connection fails, of which there is nothing to say.
	_ = raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil {
		return nil
	}
	return info
}
