// Package port keeps a TCP port for a server of natstest while that is down.
package port

import (
	"errors"
	"net"
	"strconv"
	"syscall"
)

// Loopback is the only address that servers listen on.
const Loopback = "127.0.0.1"

// Reservation is a TCP port on [Loopback] that is a server's for as long as the
// reservation is reachable, also while the server is down.
type Reservation struct {
	Number int
	hold   any // what keeps the port; its finalizer gives it back
}

// Addr returns the port with its host.
func (r *Reservation) Addr() string { return net.JoinHostPort(Loopback, strconv.Itoa(r.Number)) }

// wsaEADDRINUSE is what Windows calls EADDRINUSE.
const wsaEADDRINUSE = syscall.Errno(10048)

// InUse reports whether err says that somebody else has the port.
func InUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}
