package natsserver

import "testing"

func TestWritingSeesAConsumersFileThatIsBeingWritten(t *testing.T) {
	const (
		idle = `goroutine 7 [select, 2 minutes]:
github.com/nats-io/nats-server/v2/server.(*consumerFileStore).flushLoop(0xc000, 0xc001, 0xc002)
	filestore.go:13644 +0x2c5
`
		busy = `goroutine 8 [syscall]:
syscall.Syscall6(0x108)
	syscall_linux.go:96 +0x39
github.com/nats-io/nats-server/v2/server.(*consumerFileStore).flushLoop(0xc000, 0xc001, 0xc002)
	filestore.go:13649 +0x2c5
`
		other = `goroutine 9 [running]:
main.main()
	main.go:1 +0x1
`
	)
	for _, tt := range []struct {
		stacks string
		want   bool
	}{
		{"", false},
		{other, false},
		{other + "\n" + idle, false},
		{other + "\n" + idle + "\n" + busy, true},
		{busy + "\n" + other, true},
	} {
		if got := writing([]byte(tt.stacks)); got != tt.want {
			t.Errorf("writing = %t, want %t, for\n%s", got, tt.want, tt.stacks)
		}
	}
}
