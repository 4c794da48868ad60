package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

const patience = 60 * time.Second

// forgetVar has a child forget to call Dispatch, and do something else.
const forgetVar = "PROCESS_TEST_FORGET"

func TestMain(m *testing.M) {
	switch os.Getenv(forgetVar) {
	case "test":
		leaktest.Main(m)
	case "hang":
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the parent
		os.Exit(1)
	}
	process.Dispatch(process.Roles{
		"echo":     echo,
		"restarts": restarts,
		"refuse":   func(context.Context) error { return errors.New("not today") },
		"leave":    func(context.Context) error { return nil },
		"hang":     func(context.Context) error { select {} },
		"crash":    func(context.Context) error { panic("a crash") },
		"parent":   parent,
		"talk":     talk,
	})
	leaktest.Main(m)
}

// echo is a service: it answers each line with the same. Its text is its
// address.
func echo(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	process.Ready(ctx, l.Addr().String())
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(c, c) }() // ends with the connection
	}
}

func restarts(ctx context.Context) error {
	process.Ready(ctx, strconv.Itoa(process.Restarts(ctx))+os.Getenv("PROCESS_TEST"))
	process.Ready(ctx, "a second call counts for nothing")
	<-ctx.Done()
	return ctx.Err()
}

func talk(ctx context.Context) error {
	fmt.Print("to standard output\nand ")
	fmt.Fprint(os.Stderr, "to standard error")
	process.Ready(ctx, "")
	return nil
}

// parent has a child of its own, suspended if that is asked for, and passes its
// address on.
func parent(ctx context.Context) error {
	p, err := process.Start("echo")
	if err != nil {
		return err
	}
	defer p.Kill()
	process.Ready(ctx, p.Ready())
	if os.Getenv("SUSPEND") != "" {
		// The test is connected before it asks.
		if _, err := os.Stat(os.Getenv("SUSPEND")); err == nil {
			return errors.New("the file is there too early")
		}
		if err := p.Suspend(); err != nil {
			return err
		}
		if err := os.WriteFile(os.Getenv("SUSPEND"), nil, 0o600); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// client is a connection to an echo service.
type client struct {
	t testing.TB
	net.Conn
	lines *bufio.Reader
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		c.t.Fatal(err)
	}
}

// hears waits for an answer, at most for d.
func (c *client) hears(d time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Fatal(err)
	}
	return c.lines.ReadString('\n')
}

func (c *client) wantAnswer(line string) {
	c.t.Helper()
	if got, err := c.hears(patience); err != nil || got != line+"\n" {
		c.t.Fatalf("answer %q, error %v, want %q", got, err, line)
	}
}

// wantEnd checks that the process behind the connection is gone.
func (c *client) wantEnd() {
	c.t.Helper()
	if got, err := c.hears(patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("answer %q, error %v, want the end of the connection", got, err)
	}
}
