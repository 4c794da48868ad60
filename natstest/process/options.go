package process

import (
	"bytes"
	"io"
	"os"
	"slices"
	"time"
)

// DefaultStartTimeout is how long a child may take to call [Ready].
const DefaultStartTimeout = 30 * time.Second

// Option changes how a child is started.
type Option func(*config)

type config struct {
	name    string
	env     []string
	output  io.Writer
	timeout time.Duration
}

func newConfig(role string, opts []Option) config {
	c := config{name: role, output: os.Stderr, timeout: DefaultStartTimeout}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// Env adds variables, "NAME=value", to the environment that the child has from
// its parent.
func Env(vars ...string) Option {
	return func(c *config) { c.env = append(c.env, slices.Clone(vars)...) }
}

// Name is what the child is called in its output and in errors, where several
// have one role. Default: the role.
func Name(name string) Option {
	return func(c *config) { c.name = name }
}

// Output is where the lines go that the child prints, each after the child's
// name. w is not called by two goroutines for one child. Default: the test's
// output, and standard error outside a test.
func Output(w io.Writer) Option {
	return func(c *config) { c.output = w }
}

// StartTimeout is how long the child may take to call [Ready], at every start.
// Default [DefaultStartTimeout].
func StartTimeout(d time.Duration) Option {
	return func(c *config) { c.timeout = d }
}

// lines passes whole lines on, each after a prefix.
type lines struct {
	to      io.Writer
	prefix  string
	partial []byte
}

// Write never fails: a child is not to end because its output cannot be shown.
func (l *lines) Write(b []byte) (int, error) {
	l.partial = append(l.partial, b...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.print(line)
		l.partial = rest
	}
}

// flush passes on a last line without an end.
func (l *lines) flush() {
	if len(l.partial) > 0 {
		l.print(l.partial)
		l.partial = nil
	}
}

func (l *lines) print(line []byte) {
	_, _ = l.to.Write(slices.Concat([]byte(l.prefix), line, []byte("\n")))
}
