//go:build !unix

package process

import "syscall"

const supported = false

// Nobody sends these: no child is ever started.
const (
	sigStop = syscall.SIGKILL
	sigCont = syscall.SIGKILL
	sigTerm = syscall.SIGTERM
)

func closeOnExec(int) {}

func attributes() *syscall.SysProcAttr { return nil }

func awaitStop(*run) error { return nil }
