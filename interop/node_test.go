package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	installTimeout = 3 * time.Minute
	patience       = 60 * time.Second // for a line of a Node process, or an event
)

// unavailable skips the test, or fails it where it is required, because
// something that is not part of this module is missing.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	for _, name := range []string{"CI", "TICKETING_REQUIRE_INTEROP"} {
		if required, _ := strconv.ParseBool(os.Getenv(name)); required {
			t.Fatalf("interop is required ("+name+" is set): "+format, args...)
		}
	}
	t.Skipf("interop is NOT tested: "+format, args...)
}

// program finds an executable that is not part of this module.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, "there is no %s here", name)
	}
	return path
}

// unreachable are the codes with which npm says that it got no answer, or that
// it was told to ask nobody.
var unreachable = regexp.MustCompile(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b`)

// install installs the npm packages that package-lock.json names, and returns
// the directory that they are in.
func install(t *testing.T) string {
	t.Helper()
	program(t, "node")
	npm := program(t, "npm")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return filepath.Join(dir, "node_modules")
	case ctx.Err() != nil:
		unavailable(t, "npm ci was not done after %v", installTimeout)
	case unreachable.Match(out):
		unavailable(t, "npm cannot reach its registry (%s)", unreachable.Find(out))
	}
	t.Fatalf("npm ci: %v\n%s", err, out)
	return ""
}

// line is what listen.js prints.
type line struct {
	State   string `json:"state"`
	Subject string `json:"subject"`
	Data    string `json:"data"`
}

// process is a Node process that runs one of the scripts.
type process struct {
	script string
	cmd    *exec.Cmd
	stdin  io.Closer
	lines  chan string // its standard output; closed when that ends
	stderr bytes.Buffer
}

// start runs a script with the packages in modules. The process is killed when
// the test is over and it still runs.
func start(t *testing.T, modules, script string, args ...string) *process {
	t.Helper()
	p := &process{script: script, lines: make(chan string, 1024)}
	p.cmd = exec.Command(program(t, "node"), append([]string{script}, args...)...)
	p.cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = 5 * time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState != nil {
			return // it has ended
		}
		_ = p.cmd.Process.Kill()
		for range p.lines {
		}
		_ = p.cmd.Wait()
		t.Logf("%s was killed; its standard error: %s", script, p.stderr.Bytes())
	})
	return p
}

// parse reads a line of JSON. What is none is the package's own log.
func (p *process) parse(t *testing.T, text string) (l line, ok bool) {
	t.Helper()
	if !strings.HasPrefix(text, "{") {
		return line{}, false
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatalf("%s printed %s: %v", p.script, text, err)
	}
	return l, true
}

// next returns the next line of JSON.
func (p *process) next(t *testing.T) line {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case text, ok := <-p.lines:
			if !ok {
				p.end(t)
				t.Fatalf("%s ended instead of printing a line", p.script)
			}
			if l, ok := p.parse(t, text); ok {
				return l
			}
		case <-timeout:
			t.Fatalf("%s printed no line for %v", p.script, patience)
		}
	}
}

// end closes the standard input, waits until the process ends, and returns
// what it printed. An exit code other than 0 fails the test.
func (p *process) end(t *testing.T) (printed []string) {
	t.Helper()
	_ = p.stdin.Close()
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for text := range p.lines {
		printed = append(printed, text)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", p.script, err, p.stderr.Bytes())
	}
	return printed
}
