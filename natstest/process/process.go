package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Process is a child process in a role, over its restarts. Its methods may be
// called concurrently.
type Process struct {
	role string
	cfg  config

	restarting sync.Mutex // held by Restart

	mu     sync.Mutex
	run    *run
	starts int
	closed bool // the test is over
}

// run is a child from its start to its end.
type run struct {
	cmd   *exec.Cmd
	ready string
	done  chan struct{} // closed when it has ended and its output was passed on
	err   error         // of Wait, once done is closed
}

// Run starts a child for a test, and returns once it is [Ready]. When the test
// ends the child is killed. One that does not get ready fails the test.
func Run(t testing.TB, role string, opts ...Option) *Process {
	t.Helper()
	p, err := Start(role, append([]Option{Output(t.Output())}, opts...)...)
	if err != nil {
		t.Fatalf("process.Run: %v", err)
	}
	t.Cleanup(p.close)
	return p
}

// Start starts a child in a role that the program's [Dispatch] knows, and
// returns once it is [Ready]. A child that is not within its [StartTimeout] is
// killed, and the error matches [os.ErrDeadlineExceeded]. The caller must call
// [Process.Kill].
func Start(role string, opts ...Option) (*Process, error) {
	p := &Process{role: role, cfg: newConfig(role, opts)}
	if err := p.start(); err != nil {
		return nil, err
	}
	return p, nil
}

// start runs a new child and waits until it is ready.
func (p *Process) start() error {
	r, ready, err := p.launch()
	if err != nil {
		return fmt.Errorf("process: cannot start %s: %w", p.cfg.name, err)
	}
	text, err := io.ReadAll(ready)
	_ = ready.Close() // only read from
	said, dispatched := strings.CutPrefix(string(text), dispatchMark)
	said, ok := strings.CutPrefix(said, readyMark)
	hint := ""
	if !dispatched {
		hint = " (does TestMain, or main, call process.Dispatch? It has not come there)"
	}
	switch {
	case err != nil:
		r.kill()
		return fmt.Errorf("process: %s did not call Ready within %v%s: %w", p.cfg.name, p.cfg.timeout, hint, err)
	case !ok:
		r.kill() // if it only closed the pipe
		return fmt.Errorf("process: %s ended before it called Ready, as its output may tell: %v%s", p.cfg.name, r.cmd.ProcessState, hint)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.ready = said
	return nil
}

var (
	errNoDispatch = errors.New("this process is a child itself: call Dispatch at the beginning of TestMain or main")
	errOver       = errors.New("the test is over")
)

// launch runs a new child, with the pipe that it gets ready by.
func (p *Process) launch() (*run, *os.File, error) {
	if !supported {
		return nil, nil, errors.ErrUnsupported
	}
	if os.Getenv(roleVar) != "" {
		return nil, nil, errNoDispatch
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errOver
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()

	// A test binary that does not call Dispatch runs no test.
	cmd := exec.Command(exe, "-test.run=^$", p.cfg.name)
	cmd.Env = append(os.Environ(), p.cfg.env...)
	cmd.Env = append(cmd.Env, roleVar+"="+p.role, restartsVar+"="+strconv.Itoa(p.starts))
	out := &lines{to: p.cfg.output, prefix: p.cfg.name + ": "}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.WaitDelay = time.Second // for a child of its own that has its output open
	cmd.SysProcAttr = attributes()
	_, err = cmd.StdinPipe() // nothing is written: it ends with this process
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = ready.SetReadDeadline(time.Now().Add(p.cfg.timeout))
	}
	if err != nil {
		_ = ready.Close()
		return nil, nil, err
	}
	r := &run{cmd: cmd, done: make(chan struct{})}
	p.run = r
	p.starts++
	go func() {
		defer close(r.done)
		r.err = cmd.Wait()
		out.flush()
	}()
	return r, ready, nil
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// Ready returns the text that the child called [Ready] with.
func (p *Process) Ready() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.ready
}

// PID returns the child's process id. After a Restart it is another one.
func (p *Process) PID() int { return p.current().cmd.Process.Pid }

// Running reports whether the child has not ended. One that is suspended runs.
func (p *Process) Running() bool {
	select {
	case <-p.current().done:
		return false
	default:
		return true
	}
}

// Kill ends the child at once, by SIGKILL, suspended or not, and waits until
// it is gone. If it has ended already, Kill does nothing.
func (p *Process) Kill() { p.current().kill() }

func (r *run) kill() {
	_ = r.cmd.Process.Kill() // an error says that it has ended
	<-r.done
}

// close is the end of the test.
func (p *Process) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Kill()
}

// Suspend stops the child, by SIGSTOP, and returns when it stands still: to
// others it is a process that hangs, or a machine that is gone. Its
// connections stay open, and the kernel still accepts new ones for it. It fails
// with [os.ErrProcessDone] when the child has ended.
func (p *Process) Suspend() error {
	r := p.current()
	if err := r.cmd.Process.Signal(sigStop); err != nil {
		return p.failed("suspend", err)
	}
	return p.failed("suspend", awaitStop(r))
}

// Resume lets a suspended child go on. It fails with [os.ErrProcessDone] when
// the child has ended.
func (p *Process) Resume() error {
	return p.failed("resume", p.current().cmd.Process.Signal(sigCont))
}

// Terminate asks the child to end, by SIGTERM, and does not wait: see
// [Process.Wait]. A suspended child gets it when it is resumed. It fails with
// [os.ErrProcessDone] when the child has ended.
func (p *Process) Terminate() error {
	return p.failed("terminate", p.current().cmd.Process.Signal(sigTerm))
}

func (p *Process) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("process: cannot %s %s: %w", what, p.cfg.name, err)
}

// Wait waits until the child has ended. It returns nil when its status is 0, an
// [*exec.ExitError] for any other status or a signal, and ctx's error when that
// ends before.
func (p *Process) Wait(ctx context.Context) error {
	r := p.current()
	select {
	case <-r.done:
		if r.err != nil {
			return fmt.Errorf("process: %s ended: %w", p.cfg.name, r.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process: %s still runs: %w", p.cfg.name, context.Cause(ctx))
	}
}

// Restart starts the child again, in the same role and with the same options,
// and returns once it is [Ready]; see [Start] for its errors. A child that
// still runs is killed before.
func (p *Process) Restart() error {
	p.restarting.Lock()
	defer p.restarting.Unlock()
	p.Kill()
	return p.start()
}
