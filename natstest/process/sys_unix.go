//go:build unix

package process

import "syscall"

const supported = true

const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
	sigTerm = syscall.SIGTERM
)

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
