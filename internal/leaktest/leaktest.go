// Package leaktest is the module's one way to check that nothing leaves a
// goroutine behind.
//
// There is no list of goroutines to ignore: the clients and the embedded
// servers of natstest leave none, once they are closed and shut down. If a
// library's goroutine cannot be ended, it is to be ignored here, with the
// reason, and in no other place.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines get to end by themselves. What has been told
// to end needs as long as a busy machine takes to let it run, and goleak on its
// own waits for less than half a second. A goroutine that is left for good costs
// this once.
var patience = 30 * time.Second

// runner is [testing.M], or what runs it.
type runner interface{ Run() int }

// Main is a package's whole TestMain: it runs the tests and fails when they
// passed but goroutines are left.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
func Main(m runner) {
	code := m.Run()
	if code == 0 {
		if err := Find(); err != nil {
			fmt.Fprintln(os.Stderr, "the tests passed, and goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Find returns an error with the stacks of the goroutines that are left, once
// they had the time to end; nil as soon as none is.
func Find(opts ...goleak.Option) error {
	deadline := time.Now().Add(patience)
	for {
		err := goleak.Find(opts...) // which waits for a moment itself
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Check is called at the beginning of what it checks, and returns the end: a
// function that reports goroutines that were not there at the beginning.
//
//	defer leaktest.Check(t)()
func Check(t testing.TB) func() {
	t.Helper()
	before := goleak.IgnoreCurrent()
	return func() {
		t.Helper()
		if err := Find(before); err != nil {
			t.Error(err)
		}
	}
}
