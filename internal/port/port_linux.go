package port

import (
	"os"
	"strconv"
	"syscall"
)

// Reserve takes a port, or a free one for zero. It binds a socket that never
// listens. With SO_REUSEADDR on it and on the listener, as Go sets it, both
// may have the port, and the kernel gives it neither to another listener that
// asks for a free one nor to an outgoing connection. A client that connects
// meanwhile is refused, as by a server that is down.
func Reserve(port int) (*Reservation, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The file closes the socket when nothing refers to it any more.
	hold := os.NewFile(uintptr(fd), "port "+strconv.Itoa(port))
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if port == 0 {
		addr, err := syscall.Getsockname(fd)
		if err != nil {
			return nil, os.NewSyscallError("getsockname", err)
		}
		port = addr.(*syscall.SockaddrInet4).Port
	}
	return &Reservation{port, hold}, nil
}
