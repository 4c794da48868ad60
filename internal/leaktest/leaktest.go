// Package leaktest is the module's one way to check that a package's tests
// leave no goroutine behind.
package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main is a package's whole TestMain: it runs the tests and fails when they
// passed but goroutines are left a second later.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// There is no list of goroutines to ignore: the clients and the embedded
// servers of natstest leave none, once they are closed and shut down. If a
// library's goroutine cannot be ended, it is to be ignored here, with the
// reason, and in no other place.
func Main(m *testing.M) { goleak.VerifyTestMain(m) }
