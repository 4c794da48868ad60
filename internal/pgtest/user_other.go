//go:build !unix

package pgtest

import (
	"errors"
	"syscall"
)

func asUser() *syscall.SysProcAttr { return nil }

func chown(string) error { return errors.ErrUnsupported }
