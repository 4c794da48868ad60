//go:build unix && !linux

package process

import "syscall"

// attributes puts the child into a process group of its own, so that a Ctrl-C
// at the terminal is for its parent alone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitStop returns at once: the child stands still a moment later.
func awaitStop(*run) error { return nil }
