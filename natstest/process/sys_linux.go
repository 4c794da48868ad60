package process

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// attributes puts the child into a process group of its own, so that a Ctrl-C
// at the terminal is for its parent alone, and has the kernel kill it when its
// parent is gone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStop waits until all threads of a child that was sent SIGSTOP stand
// still, which takes some microseconds. The child's end is not taken from
// whoever else waits for that.
func awaitStop(r *run) error {
	const (
		byPID   = 1
		options = syscall.WUNTRACED | syscall.WNOHANG | syscall.WNOWAIT
	)
	for {
		var info [16]uint64 // siginfo_t, all zero as long as there is nothing to tell
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(r.cmd.Process.Pid),
			uintptr(unsafe.Pointer(&info)), options, 0, 0)
		switch {
		case errno == syscall.ECHILD:
			return os.ErrProcessDone
		case errno != 0 && errno != syscall.EINTR:
			return os.NewSyscallError("waitid", errno)
		case info != [16]uint64{}:
			return nil
		}
		select {
		case <-r.done:
			return os.ErrProcessDone
		case <-time.After(50 * time.Microsecond):
		}
	}
}
