//go:build unix

package smtpclient

import (
	"net"
	"syscall"
)

// alive reports whether the peer has neither closed the connection nor, in clear, said something unasked, such as
// 421. It looks at what has arrived and does not wait.
func alive(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	open := true
	var b [1]byte
	err = rc.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n < 0 && (err == syscall.EAGAIN || err == syscall.EINTR)
	})
	return err == nil && open
}
