//go:build !linux

package natsserver

import "net"

// reserve finds a free port, or takes the one that is given. Nothing keeps it
// here: the start tries again if somebody else has it for a moment.
func reserve(port int) (*reservation, error) {
	if port != 0 {
		return &reservation{number: port}, nil
	}
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &reservation{number: l.Addr().(*net.TCPAddr).Port}, nil
}
