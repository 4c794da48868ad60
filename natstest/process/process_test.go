//go:build unix

package process_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

func wait(t testing.TB, p *process.Process) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := p.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal(err)
	}
	return err
}

func TestAKilledProcessIsGoneAndComesBack(t *testing.T) {
	p := process.Run(t, "echo")
	c := connect(t, p.Ready())
	c.say("hello")
	c.wantAnswer("hello")
	pid := p.PID()

	p.Kill()
	p.Kill()
	c.wantEnd()
	if p.Running() {
		t.Error("it runs")
	}
	var exit *exec.ExitError
	if err := wait(t, p); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("Wait: %v, want SIGKILL", err)
	}

	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	if p.PID() == pid || !p.Running() {
		t.Errorf("process %d runs: %t; before it was %d", p.PID(), p.Running(), pid)
	}
	c = connect(t, p.Ready())
	c.say("again")
	c.wantAnswer("again")
}

func TestASuspendedProcessGoesOnWhenItIsResumed(t *testing.T) {
	p := process.Run(t, "echo")
	c := connect(t, p.Ready())
	for range 20 {
		c.say("before")
		c.wantAnswer("before")
		if err := p.Suspend(); err != nil {
			t.Fatal(err)
		}
		c.say("during")
		if got, err := c.hears(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a suspended process answers %q, error %v", got, err)
		}
		if err := p.Suspend(); err != nil { // which changes nothing
			t.Fatal(err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		c.wantAnswer("during")
	}
}

func TestASuspendedProcessCanBeKilledAndRestarted(t *testing.T) {
	p := process.Run(t, "echo")
	for _, end := range []func(){p.Kill, func() {}} {
		if err := p.Suspend(); err != nil {
			t.Fatal(err)
		}
		end()
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, p.Ready()).say("hello")
}

func TestTerminateEndsTheRolesContext(t *testing.T) {
	p := process.Run(t, "echo")
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, p); err != nil {
		t.Errorf("Wait: %v, want nil for status 0", err)
	}

	p = process.Run(t, "restarts") // returns its context's error
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := wait(t, p); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("Wait: %v, want status 1", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p := process.Run(t, "echo")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if err := p.Wait(ctx); !errors.Is(err, stop) {
		t.Errorf("Wait: %v, want the context's cause", err)
	}
}

func TestASignalToAProcessThatHasEndedIsAnError(t *testing.T) {
	p := process.Run(t, "talk")
	if err := wait(t, p); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Suspend": p.Suspend, "Resume": p.Resume, "Terminate": p.Terminate,
	} {
		if err := f(); !errors.Is(err, os.ErrProcessDone) || !strings.Contains(err.Error(), "talk") {
			t.Errorf("%s: %v, want os.ErrProcessDone and the name", name, err)
		}
	}
}

func TestAChildKnowsItsEnvironmentAndHowOftenItWasRestarted(t *testing.T) {
	t.Setenv("PROCESS_TEST", "inherited")
	p := process.Run(t, "restarts", process.Env("PROCESS_TEST= of its own"))
	for _, want := range []string{"0 of its own", "1 of its own", "2 of its own"} {
		if got := p.Ready(); got != want {
			t.Errorf("Ready %q, want %q", got, want)
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatAChildPrintsIsPassedOnByLines(t *testing.T) {
	var out bytes.Buffer
	p := process.Run(t, "talk", process.Output(&out), process.Name("n1"))
	if err := wait(t, p); err != nil {
		t.Fatal(err)
	}
	want := "n1: to standard output\nn1: and to standard error\n"
	if out.String() != want {
		t.Errorf("output %q, want %q", out.String(), want)
	}
}

func TestAChildThatDoesNotGetReadyIsAnErrorAndIsGone(t *testing.T) {
	for _, tt := range []struct {
		role   string
		want   string // in the error
		output string
		target error
	}{
		{"refuse", "exit status 1", "not today", nil},
		{"leave", "exit status 0", "", nil},
		{"crash", "exit status 2", "panic: a crash", nil},
		{"unknown", "exit status 2", "crash, echo, hang", nil},
		{"hang", "did not call Ready within 200ms", "", os.ErrDeadlineExceeded},
	} {
		t.Run(tt.role, func(t *testing.T) {
			nothingLeft := leaktest.Check(t)
			var out bytes.Buffer
			timeout := patience
			if tt.target != nil {
				timeout = 200 * time.Millisecond
			}
			p, err := process.Start(tt.role, process.Output(&out), process.StartTimeout(timeout))
			if err == nil {
				p.Kill()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) || !errors.Is(err, tt.target) && tt.target != nil {
				t.Errorf("error %q, want %q", err, tt.want)
			}
			if !strings.Contains(out.String(), tt.output) {
				t.Errorf("output %q, want %q", out.String(), tt.output)
			}
			nothingLeft()
		})
	}
}

func TestAProgramThatForgetsDispatchIsAskedForIt(t *testing.T) {
	for _, tt := range []struct {
		name, role, forget string
		timeout            time.Duration
		asked              bool
	}{
		{"it tests instead", "echo", "test", patience, true},
		{"it does something else", "echo", "hang", 200 * time.Millisecond, true},
		{"the role returns", "leave", "", patience, false},
		{"there is no such role", "unknown", "", patience, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := process.Start(tt.role, process.Env(forgetVar+"="+tt.forget), process.Output(t.Output()), process.StartTimeout(tt.timeout))
			if err == nil {
				p.Kill()
				t.Fatal("it started")
			}
			if asked := strings.Contains(err.Error(), "does TestMain, or main, call process.Dispatch"); asked != tt.asked {
				t.Errorf("error %q asks for Dispatch: %t, want %t", err, asked, tt.asked)
			}
		})
	}
}

func TestAChildDoesNotOutliveItsParent(t *testing.T) {
	for name, end := range map[string]func(*process.Process) error{
		"killed":     func(p *process.Process) error { p.Kill(); return nil },
		"terminated": (*process.Process).Terminate,
	} {
		t.Run(name, func(t *testing.T) {
			p := process.Run(t, "parent")
			c := connect(t, p.Ready()) // to the parent's child
			c.say("hello")
			c.wantAnswer("hello")
			if err := end(p); err != nil {
				t.Fatal(err)
			}
			c.wantEnd()
		})
	}
}

func TestASuspendedChildDoesNotOutliveItsParent(t *testing.T) {
	suspended := filepath.Join(t.TempDir(), "suspended")
	p := process.Run(t, "parent", process.Env("SUSPEND="+suspended))
	c := connect(t, p.Ready())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if _, err := os.Stat(suspended); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the child is not suspended")
		}
	}
	p.Kill()
	c.wantEnd()
}

func TestTheEndOfTheTestKillsAndKeepsFromRestarting(t *testing.T) {
	var p *process.Process
	t.Run("test", func(t *testing.T) {
		p = process.Run(t, "echo")
		if err := p.Suspend(); err != nil {
			t.Fatal(err)
		}
	})
	if p.Running() {
		t.Error("it runs after its test")
	}
	if err := p.Restart(); err == nil {
		t.Error("it was restarted after its test")
	}
}

func TestAProcessMayBeUsedFromAnywhere(t *testing.T) {
	p := process.Run(t, "restarts")
	var wg sync.WaitGroup
	for _, f := range []func() error{p.Suspend, p.Resume, p.Restart, p.Restart, p.Terminate} {
		wg.Go(func() {
			for range 3 {
				_ = f() // it may have been killed or suspended meanwhile
				p.Running()
				p.Ready()
				p.PID()
			}
		})
	}
	wg.Go(p.Kill)
	// A start that another goroutine suspends would take its whole timeout.
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			_ = p.Resume()
		}
	})
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			_ = p.Restart()
		}
	}()
	<-done
	cancel()
	wg.Wait()
}

func TestReadyAndRestartsOutsideAChildDoNothing(t *testing.T) {
	process.Ready(t.Context(), "nobody listens")
	if n := process.Restarts(t.Context()); n != 0 {
		t.Errorf("Restarts %d", n)
	}
}
