// Package leaktest is the module's one way to check that a package's tests
// leave no goroutine behind. It knows what the embedded servers and clients
// leave, and why that is no leak of ours.
package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main is a package's whole TestMain: it runs the tests and fails when they
// passed but goroutines are left.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
func Main(m *testing.M) { goleak.VerifyTestMain(m, Options()...) }

// Options returns what Main passes to goleak, for a test that checks itself
// with [goleak.VerifyNone].
func Options() []goleak.Option { return nil }
