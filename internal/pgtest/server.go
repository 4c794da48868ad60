package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ducnguyen96/ticketing-common/internal/port"
)

// Server is a cluster in a temporary directory, on a free port of the
// loopback. It ends with the test process, however that ends, and its
// directory with it.
type Server struct {
	dir      string
	port     *port.Reservation
	settings []string
	running  *exec.Cmd
	lifeline io.WriteCloser // the server's keeper ends it when this is closed
	log      bytes.Buffer
}

// URL returns the URL of the superuser, who has no password.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.port.Addr())
}

var errNoBinaries = errors.New("neither PATH nor /usr/lib/postgresql has initdb")

// binaries is the directory of the server's programs, and of those of its
// version.
var binaries = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // where Debian has it
	if len(found) == 0 {
		return "", errNoBinaries
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
})

// Binary finds a program of the PostgreSQL server's version.
func Binary(name string) (string, error) {
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	_, err = os.Stat(path)
	return path, err
}

const startTimeout = time.Minute

func start(settings ...string) (_ *Server, err error) {
	initdb, err := Binary("initdb")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, settings: settings}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := chown(dir); err != nil {
		return nil, err
	}
	cmd := exec.Command(initdb, "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir = dir
	cmd.SysProcAttr = asUser()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if s.port, err = port.Reserve(0); err != nil {
		return nil, err
	}
	return s, s.Start()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// keeper runs the server until its own standard input ends, which it does when
// the test process is gone, then stops it. It removes the directory unless it
// is told to keep it.
const keeper = `dir=$1; shift
"$@" </dev/null &
pid=$!
line=gone
read -r line
kill -INT $pid 2>/dev/null
wait $pid
[ "$line" = keep ] || rm -rf "$dir"`

// Start starts the server, if it does not run, and waits until it can be used.
func (s *Server) Start() error {
	if s.running != nil {
		return nil
	}
	postgres, err := Binary("postgres")
	if err != nil {
		return err
	}
	args := []string{"-c", keeper, "keeper", s.dir, postgres, "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=" + port.Loopback, "-p", strconv.Itoa(s.port.Number)}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = asUser()
	s.log.Reset()
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running, s.lifeline = cmd, lifeline
	return s.wait()
}

// wait waits until the server accepts a connection.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.stop("keep\n")
			return fmt.Errorf("the server did not start: %w\n%s", err, s.log.String())
		}
	}
}

// Stop stops the server as "pg_ctl stop -m fast" does: clients are cut off.
// Start goes on with the same data on the same port.
func (s *Server) Stop() { s.stop("keep\n") }

func (s *Server) stop(word string) {
	if s.running == nil {
		return
	}
	_, _ = io.WriteString(s.lifeline, word)
	_ = s.lifeline.Close()
	_ = s.running.Wait()
	s.running = nil
}

// close stops the server for good.
func (s *Server) close() {
	s.stop("gone\n")
	_ = os.RemoveAll(s.dir) // a server that was stopped before has left it
}
