package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profile says what to profile. Only the rounds of one side are in it: not the
// servers, the preparations, the warm-up, or the other side.
type profile struct {
	cpu, mem string // files
	side     string // the only one to run, or empty

	cpuFile *os.File
}

// complete checks the flags and prepares for start.
func (p *profile) complete() error {
	if p.wanted() && p.side == "" {
		p.side = "ours"
	}
	if p.mem != "" {
		runtime.MemProfileRate = 0 // until start
	}
	switch p.side {
	case "", "ours", "raw":
		return nil
	default:
		return fmt.Errorf("-side is %q, and has to be ours or raw", p.side)
	}
}

func (p *profile) wanted() bool { return p.cpu != "" || p.mem != "" }

func (p *profile) start() error {
	if p.mem != "" {
		runtime.MemProfileRate = 1
	}
	if p.cpu == "" {
		return nil
	}
	f, err := os.Create(p.cpu)
	if err != nil {
		return err
	}
	p.cpuFile = f
	return pprof.StartCPUProfile(f)
}

func (p *profile) stop() error {
	var errs []error
	if p.cpuFile != nil {
		pprof.StopCPUProfile()
		errs = append(errs, p.cpuFile.Close())
	}
	if p.mem != "" {
		runtime.GC() // what was allocated since the last one is not in the profile yet
		f, err := os.Create(p.mem)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}
	return errors.Join(errs...)
}
