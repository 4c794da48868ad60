package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The two programs: one with this module as a service has it, one that does
// the same with the raw clients.
const (
	serviceProgram = "github.com/ducnguyen96/ticketing-common/internal/linktest/service"
	rawProgram     = "github.com/ducnguyen96/ticketing-common/internal/linktest/raw"
)

// measureLinked builds both programs. It needs the go command, and a working
// directory within the module.
func measureLinked(ctx context.Context, _ *bench) ([]metric, error) {
	var size, packages [2]float64
	for i, program := range []string{serviceProgram, rawProgram} {
		var err error
		if size[i], err = programSize(ctx, program); err != nil {
			return nil, err
		}
		if packages[i], err = programPackages(ctx, program); err != nil {
			return nil, err
		}
	}
	once := func(x float64) spread { return spread{x, x, x} }
	return []metric{
		{
			what: "size of a program in MiB", ours: size[0], raw: size[1], unit: "MiB", digits: 2,
			result: once(size[0]), resultDigits: 2, bar: bar{atMost, 11},
		},
		{
			what: "packages outside the standard library", ours: packages[0], raw: packages[1],
			result: once(packages[0]), bar: bar{atMost, 36},
		},
	}, nil
}

// programSize builds a program and returns its size in MiB.
func programSize(ctx context.Context, program string) (mib float64, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "program")
	if _, err := goCommand(ctx, "build", "-o", binary, program); err != nil {
		return 0, err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / (1 << 20), nil
}

// programPackages counts what a program links besides the standard library and
// itself.
func programPackages(ctx context.Context, program string) (float64, error) {
	out, err := goCommand(ctx, "list", "-deps", "-f", `{{if not (or .Standard (eq .Name "main"))}}{{.ImportPath}}{{end}}`, program)
	return float64(len(strings.Fields(out))), err
}

func goCommand(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}
