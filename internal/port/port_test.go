package port

import (
	"net"
	"runtime"
	"testing"
)

func TestAPortIsItsOwnersAlone(t *testing.T) {
	r, err := Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Reserve(r.Number) // as a child process does
	if err != nil || again.Number != r.Number {
		t.Fatalf("the same port again: %v, %v", again, err)
	}
	l, err := net.Listen("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if second, err := net.Listen("tcp", r.Addr()); !InUse(err) {
		t.Errorf("a second listener: %v, %v", second, err)
	}
	runtime.KeepAlive(r)
}
