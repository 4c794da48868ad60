package natswrap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// harness is a runner over a fake backend and signals of its own.
type harness struct {
	*fake
	runner
	signals chan<- os.Signal
	ready   chan struct{} // closed when signals is set
	exits   chan int
	stopped bool
}

func newHarness() *harness {
	h := &harness{fake: newFake(), ready: make(chan struct{}), exits: make(chan int, 1)}
	h.runner = runner{
		connect: h.connector,
		notify: func(ch chan<- os.Signal) func() {
			h.signals = ch
			close(h.ready)
			return func() { h.stopped = true }
		},
		exit: func(code int) { h.exits <- code },
	}
	return h
}

func quietly() Config {
	c := good()
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return c
}

func untilDone(ctx context.Context, _ *Client) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestRunDropsTheContextsErrorAndNothingElse(t *testing.T) {
	real := errors.New("real")
	for name, test := range map[string]struct {
		result func(ctx context.Context) error
		want   error
	}{
		"the context's":                {func(ctx context.Context) error { return ctx.Err() }, nil},
		"the cause":                    {context.Cause, nil},
		"wrapped":                      {func(ctx context.Context) error { return fmt.Errorf("listen: %w", ctx.Err()) }, nil},
		"both joined":                  {func(ctx context.Context) error { return errors.Join(ctx.Err(), context.Cause(ctx)) }, nil},
		"a real one":                   {func(context.Context) error { return real }, real},
		"a real one joined":            {func(ctx context.Context) error { return errors.Join(real, ctx.Err()) }, real},
		"an event that was not sent":   {notPublished, ticketing.ErrNotSent},
		"and one in a chain of errors": {func(ctx context.Context) error { return fmt.Errorf("create: %w", notPublished(ctx)) }, ticketing.ErrNotSent},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness()
			err := h.run(t.Context(), quietly(), func(ctx context.Context, _ *Client) error {
				h.signals <- syscall.SIGTERM
				<-ctx.Done()
				return test.result(ctx)
			})
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("Run = %v, want %v", err, test.want)
			}
		})
	}
}

func notPublished(ctx context.Context) error {
	return ticketing.NewPublishError(ticketing.OutcomeNotSent, &ticketing.Message{ID: "1", Subject: "a"}, ctx.Err())
}

func TestRunEndsWithoutAnErrorAfterASignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		h := newHarness()
		err := h.run(t.Context(), quietly(), func(ctx context.Context, c *Client) error {
			h.signals <- sig
			<-ctx.Done()
			if cause := context.Cause(ctx); !strings.Contains(cause.Error(), sig.String()) {
				t.Errorf("the cause is %v, want that it names %v", cause, sig)
			}
			if err := send(t, c); err != nil {
				t.Errorf("a publish after the signal: %v", err)
			}
			return fmt.Errorf("listen: %w", ctx.Err())
		})
		if err != nil {
			t.Errorf("%v: error = %v, want nil", sig, err)
		}
		if h.Healthy() || !h.stopped {
			t.Errorf("%v: the connection is open, or signals are still watched", sig)
		}
	}
}

func TestRunReturnsTheErrorOfItsFunctionAndOfClosing(t *testing.T) {
	h := newHarness()
	mine, closing := errors.New("mine"), errors.New("closing")
	h.closing = func(context.Context) error { return closing }
	err := h.run(t.Context(), quietly(), func(context.Context, *Client) error { return mine })
	if !errors.Is(err, mine) || !errors.Is(err, closing) {
		t.Errorf("error = %v, want both", err)
	}

	// An error of the same kind as the context's is fn's own while that runs.
	h = newHarness()
	err = h.run(t.Context(), quietly(), func(context.Context, *Client) error { return context.Canceled })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want fn's", err)
	}

	// After a signal only the context's error is dropped.
	h = newHarness()
	err = h.run(t.Context(), quietly(), func(ctx context.Context, _ *Client) error {
		h.signals <- os.Interrupt
		<-ctx.Done()
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("error = %v, want fn's", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	h := newHarness()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := h.run(ctx, quietly(), untilDone); err != nil {
		t.Errorf("error = %v, want nil", err)
	}
	if h.Healthy() {
		t.Error("the connection is open")
	}
}

func TestRunEndsWhenTheConnectionIsClosedForGood(t *testing.T) {
	h := newHarness()
	reason := errors.New("credentials refused")
	err := h.run(t.Context(), quietly(), func(ctx context.Context, _ *Client) error {
		h.end(reason)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, reason) || strings.Count(err.Error(), "refused") != 1 {
		t.Errorf("error = %v, want %v once", err, reason)
	}

	h = newHarness()
	err = h.run(t.Context(), quietly(), func(ctx context.Context, c *Client) error {
		defer func() { <-ctx.Done() }()
		return c.Close(ctx) // on purpose
	})
	if err != nil {
		t.Errorf("after fn closed it: error = %v, want nil", err)
	}
}

func TestRunDoesNotWaitForAFunctionThatHangs(t *testing.T) {
	h := newHarness()
	var left time.Duration
	h.closing = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return ctx.Err()
	}
	hang := make(chan struct{})
	defer close(hang)
	c := quietly()
	c.ShutdownTimeout = 250 * time.Millisecond
	start := time.Now()
	err := h.run(t.Context(), c, func(context.Context, *Client) error {
		h.signals <- syscall.SIGTERM
		<-hang
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "has not returned 200ms after") {
		t.Errorf("error = %v", err)
	}
	if d := time.Since(start); d < 200*time.Millisecond || d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	if left <= 0 || left > 50*time.Millisecond {
		t.Errorf("%v were left for closing, want up to 50ms", left)
	}
}

func TestClosingHasTheWholeTimeoutWhenTheFunctionReturnsByItself(t *testing.T) {
	h := newHarness()
	h.closing = func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) < DefaultShutdownTimeout/2 {
			t.Errorf("deadline %v, %v", deadline, ok)
		}
		return ctx.Err()
	}
	if err := h.run(t.Context(), quietly(), func(context.Context, *Client) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestASecondSignalExitsAtOnce(t *testing.T) {
	for sig, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		h := newHarness()
		err := h.run(t.Context(), quietly(), func(ctx context.Context, _ *Client) error {
			h.signals <- syscall.SIGTERM
			<-ctx.Done()
			h.signals <- sig
			if code := receive(t, "the exit", h.exits); code != want {
				t.Errorf("%v: exit status %d, want %d", sig, code, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestRunThatIsSignalledWhileItConnectsEndsWithoutAnError(t *testing.T) {
	h := newHarness()
	h.connect = func(ctx context.Context, _ Config) (backend, error) {
		h.signals <- os.Interrupt
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if err := h.run(t.Context(), quietly(), untilDone); err != nil {
		t.Errorf("error = %v, want nil", err)
	}
}

func TestRunReportsThatItCannotConnect(t *testing.T) {
	h := newHarness()
	reason := errors.New("unreachable")
	h.connect = func(context.Context, Config) (backend, error) { return nil, reason }
	if err := h.run(t.Context(), quietly(), untilDone); !errors.Is(err, reason) {
		t.Errorf("error = %v, want %v", err, reason)
	}
	if err := Run(nil, good(), untilDone); !errors.Is(err, errNilContext) {
		t.Errorf("error = %v, want that of a nil context", err)
	}
}

func TestRunNoticesThatItsFunctionEndedItsGoroutine(t *testing.T) {
	h := newHarness()
	err := h.run(t.Context(), quietly(), func(context.Context, *Client) error {
		runtime.Goexit()
		return nil
	})
	if !errors.Is(err, errGoexit) {
		t.Errorf("error = %v, want %v", err, errGoexit)
	}
}

// childVariable makes the test binary a service that is there to be signalled.
const childVariable = "NATSWRAP_TEST_CHILD"

// runChild is that service. It says what it does on standard output; "deaf"
// makes it ignore the end of its context.
func runChild() int {
	f := newFake()
	r := runner{connect: f.connector, notify: notify, exit: os.Exit}
	err := r.run(context.Background(), quietly(), func(ctx context.Context, _ *Client) error {
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("stopping")
		if os.Getenv(childVariable) == "deaf" {
			select {}
		}
		return ctx.Err()
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("closed")
	return 0
}

func TestARealProcessStopsAtASignalAndExitsAtTheSecond(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows delivers no signals to a child")
	}
	for _, tc := range []struct {
		name    string
		kind    string
		signals []os.Signal
		want    int
	}{
		{"one SIGTERM", "polite", []os.Signal{syscall.SIGTERM}, 0},
		{"one SIGINT", "polite", []os.Signal{os.Interrupt}, 0},
		{"SIGTERM twice", "deaf", []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 143},
		{"SIGTERM then SIGINT", "deaf", []os.Signal{syscall.SIGTERM, os.Interrupt}, 130},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+tc.kind)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewScanner(out)
			for i, line := range []string{"ready", "stopping"} {
				if !said.Scan() || said.Text() != line {
					t.Fatalf("the child said %q, want %q", said.Text(), line)
				}
				if i < len(tc.signals) {
					if err := child.Process.Signal(tc.signals[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			closed := said.Scan() && said.Text() == "closed"
			if closed != (tc.want == 0) {
				t.Errorf("the child closed its connection: %v", closed)
			}
			_ = child.Wait()
			if code := child.ProcessState.ExitCode(); code != tc.want {
				t.Errorf("exit status %d, want %d", code, tc.want)
			}
		})
	}
}
