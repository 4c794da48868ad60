// Package process runs a part of a test program as a process of its own, so
// that a test can do to it what happens to processes: SIGKILL, SIGSTOP,
// SIGTERM, and a start over. A shutdown inside the test's own process
// understates a crash: deferred calls run, buffers are flushed, connections are
// closed in order.
//
// The child is the test binary again. What it does instead of testing is a
// [Role], chosen before the tests begin:
//
//	func TestMain(m *testing.M) {
//		process.Dispatch(process.Roles{
//			"orders": runOrders,
//			"nats":   natsserver.Role(),
//		})
//		os.Exit(m.Run())
//	}
//
//	func TestOrdersSurviveACrash(t *testing.T) {
//		s := natsserver.RunProcess(t, "nats")
//		p := process.Run(t, "orders", process.Env("NATS_URL="+s.URL()))
//		p.Kill()
//		...
//		p.Restart()
//	}
//
// Packages natsserver and stanserver have roles that are servers. In a program
// that is not a test, [Dispatch] is the first call of main, and [Start] takes
// the place of [Run].
//
// No child outlives its parent, however that ends: a child's standard input is
// a pipe whose end makes it exit, and on Linux the kernel kills it as well,
// which also reaches one that is suspended.
//
// Children need Unix: elsewhere a start fails with [errors.ErrUnsupported].
package process
