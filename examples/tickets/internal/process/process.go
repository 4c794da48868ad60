// Package process builds the service and runs it as a process of its own, for
// the end-to-end tests and the load program.
package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const pkg = "github.com/ducnguyen96/ticketing-common/examples/tickets"

// Build builds the service into dir. flags are those of go build.
func Build(ctx context.Context, dir string, flags ...string) (bin string, err error) {
	bin = filepath.Join(dir, "tickets.exe") // Windows wants the suffix, nobody else minds
	args := append([]string{"build", "-o", bin}, flags...)
	if out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Process is the running service.
type Process struct {
	URL  string // of its HTTP
	cmd  *exec.Cmd
	done chan struct{} // closed when it has exited

	mu  sync.Mutex
	log bytes.Buffer // all that it prints
}

// startTimeout bounds the wait for the line with the URL.
const startTimeout = 30 * time.Second

// Start starts bin with the environment of this process and env, and returns
// when it serves HTTP. The caller ends it with Kill or a signal.
func Start(bin string, env map[string]string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(bin, args...), done: make(chan struct{})}
	p.cmd.Env = os.Environ()
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = p
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	url := make(chan string, 1)
	go p.follow(stdout, url)
	select {
	case p.URL = <-url:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("the service ended with status %d before it served:\n%s", p.cmd.ProcessState.ExitCode(), p.Log())
	case <-time.After(startTimeout):
		p.Kill()
		return nil, fmt.Errorf("the service did not serve within %v:\n%s", startTimeout, p.Log())
	}
}

// follow reads what the service prints until its end, and sends the URL on.
func (p *Process) follow(stdout io.Reader, url chan<- string) {
	defer close(p.done)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(p, lines.Text())
		if u, ok := strings.CutPrefix(lines.Text(), "tickets: "); ok {
			url <- u
		}
	}
	_ = p.cmd.Wait() // its status is in ProcessState
}

// Write adds to the log.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log returns what the service has printed so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process at once, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Wait waits for the process to exit and returns its status.
func (p *Process) Wait(ctx context.Context) (status int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, errors.New("the service is still running")
	}
}
