//go:build !linux

package port

import "net"

// Reserve finds a free port, or takes the one that is given. Nothing keeps it
// here: the start tries again if somebody else has it for a moment.
func Reserve(port int) (*Reservation, error) {
	if port != 0 {
		return &Reservation{Number: port}, nil
	}
	l, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &Reservation{Number: l.Addr().(*net.TCPAddr).Port}, nil
}
