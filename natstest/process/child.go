package process

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Role is what a child process does. It calls [Ready] once it does it. Its ctx
// ends with SIGTERM and with SIGINT. When the role returns, the process exits:
// with status 0 for nil, otherwise with status 1 after the error was printed.
type Role func(ctx context.Context) error

// Roles are the roles of a program by their names.
type Roles map[string]Role

// What a parent tells its child through the environment.
const (
	roleVar     = "TICKETING_PROCESS_ROLE"
	restartsVar = "TICKETING_PROCESS_RESTARTS"
)

// readyFD is the child's end of the pipe for [Ready]: the first file after the
// standard ones.
const readyFD = 3

// What the child writes there: by Dispatch that it came so far, and then what
// begins the text of Ready, so that an empty one is something, too.
const (
	dispatchMark = "dispatch "
	readyMark    = "ready "
)

// Dispatch runs the role that this process was started for, and exits. In a
// process that was not started by this package it returns at once. It belongs
// at the beginning of TestMain, or of main, before flags are parsed.
func Dispatch(roles Roles) {
	name := os.Getenv(roleVar)
	if name == "" {
		return
	}
	ready := os.NewFile(readyFD, "ready")
	closeOnExec(readyFD)
	_, _ = io.WriteString(ready, dispatchMark) // it fails when there is no parent
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the parent
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	status := play(ctx, roles, name, ready)
	stop()
	os.Exit(status)
}

// play runs a role and returns the status to exit with.
func play(ctx context.Context, roles Roles, name string, ready *os.File) int {
	restarts, _ := strconv.Atoi(os.Getenv(restartsVar)) // the parent's own number
	// A role may have children of its own.
	_ = os.Unsetenv(roleVar)
	_ = os.Unsetenv(restartsVar)

	role, ok := roles[name]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(roles)), ", ")
		fmt.Fprintf(os.Stderr, "process: Dispatch has no role %q, only: %s\n", name, known)
		return 2
	}
	c := &child{ready: ready, restarts: restarts}
	if err := role(context.WithValue(ctx, childKey{}, c)); err != nil {
		fmt.Fprintf(os.Stderr, "process: role %q: %v\n", name, err)
		return 1
	}
	return 0
}

// child is what a role's ctx carries.
type child struct {
	ready    *os.File
	restarts int
}

type childKey struct{}

// Ready tells the parent that this child does its work now. The text is for
// the parent's [Process.Ready]: an address, perhaps. Only the first call
// counts. With a ctx that is not a role's it does nothing, so that a role can
// run inside the test's process as well.
func Ready(ctx context.Context, text string) {
	c, ok := ctx.Value(childKey{}).(*child)
	if !ok {
		return
	}
	_, _ = io.WriteString(c.ready, readyMark+text) // it fails when there is no parent
	_ = c.ready.Close()                            // the end of the text; the second call fails
}

// Restarts returns how often [Process.Restart] has started this child. With a
// ctx that is not a role's it is zero.
func Restarts(ctx context.Context) int {
	c, ok := ctx.Value(childKey{}).(*child)
	if !ok {
		return 0
	}
	return c.restarts
}
