package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// The kinds of server.
const (
	kindJetStream = "jetstream"
	kindStreaming = "streaming"
)

// serve is the server's process: it prints the URL and runs until the standard
// input ends, which it does whatever becomes of the parent.
func serve(kind string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // they are for the parent, which ends the input
	var url string
	switch kind {
	case kindJetStream:
		s, err := natsserver.Start()
		if err != nil {
			return err
		}
		defer s.Shutdown()
		url = s.URL()
	case kindStreaming:
		s, err := stanserver.Start()
		if err != nil {
			return err
		}
		defer s.Shutdown()
		url = s.URL()
	default:
		return fmt.Errorf("-serve %s: there is no such server", kind)
	}
	fmt.Println(url)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// server is a server in a process of its own.
type server struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// startServer starts a server of a kind: this program once more.
func startServer(kind string) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-serve", kind)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the %s server does not start: %w", kind, err), s.stop())
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	_ = s.stdin.Close() // it may have ended by itself, which Wait tells
	return s.cmd.Wait()
}

// warnings is the log of this module's clients: what they do as usual is of no
// interest here.
var warnings = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
