//go:build unix

package inbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// binary finds a program of the PostgreSQL server, in PATH or where Debian has
// it.
func binary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", errors.New("neither PATH nor /usr/lib/postgresql has " + name)
	}
	return slices.Max(found), nil
}

// keeper runs the server until its own standard input ends, as it does when
// the test process is gone, and removes the cluster.
const keeper = `dir=$1; shift
"$@" </dev/null &
pid=$!
read -r line
kill -INT $pid 2>/dev/null
wait $pid
rm -rf "$dir"`

// startPostgres starts a throw-away cluster on a free port of the loopback.
func startPostgres() (url string, stop func(), err error) {
	initdb, err := binary("initdb")
	if err != nil {
		return "", nil, err
	}
	postgres, err := binary("postgres")
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "inboxtest")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	attr := &syscall.SysProcAttr{Setpgid: true} // an interrupt is the test's
	if os.Getuid() == 0 {
		if attr.Credential, err = servant(); err != nil {
			return "", nil, err
		}
		if err := os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return "", nil, err
		}
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	cmd = exec.Command("/bin/sh", "-c", keeper, "keeper", dir, postgres, "-D", data, "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(port), "-c", "deadlock_timeout=50ms")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_, _ = io.WriteString(lifeline, "\n")
		_ = lifeline.Close()
		_ = cmd.Wait()
	}
	url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := await(url); err != nil {
		stop()
		return "", nil, fmt.Errorf("the server did not start: %w\n%s", err, log.String())
	}
	return url, stop, nil
}

// await waits until the server accepts a connection.
func await(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// servant is who the server runs as: PostgreSQL refuses root.
func servant() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
