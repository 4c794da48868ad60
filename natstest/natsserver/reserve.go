package natsserver

import (
	"errors"
	"syscall"
)

// loopback is the only address that servers listen on.
const loopback = "127.0.0.1"

// reservation is a TCP port on loopback that is a server's for as long as the
// reservation is reachable, also while the server is down.
type reservation struct {
	number int
	hold   any // what keeps the port; its finalizer gives it back
}

// wsaEADDRINUSE is what Windows calls EADDRINUSE.
const wsaEADDRINUSE = syscall.Errno(10048)

// portInUse reports whether err says that somebody else has the port.
func portInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}
