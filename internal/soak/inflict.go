package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

// inflict carries the steps out, each lane in turn, until they are done or ctx
// ends. It returns what went wrong with the faults themselves.
func (b *broker) inflict(ctx context.Context, steps []step, out io.Writer) error {
	start := time.Now()
	lanes := make(map[int][]step)
	for _, s := range steps {
		lanes[s.lane] = append(lanes[s.lane], s)
	}
	var mu sync.Mutex // errs, out
	var errs []error
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() {
			for _, s := range lane {
				if !sleep(ctx, time.Until(start.Add(s.at))) {
					return
				}
				mu.Lock()
				fmt.Fprintf(out, "%6.1fs %v\n", time.Since(start).Seconds(), s)
				mu.Unlock()
				// With two lanes for servers one may have killed what the
				// other suspends or resumes.
				if err := b.carryOut(ctx, s); err != nil && !errors.Is(err, os.ErrProcessDone) {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%v: %w", s, err))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sleep returns false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// carryOut does what the step says, and undoes it when its time is over.
func (b *broker) carryOut(ctx context.Context, s step) error {
	server, proxy := b.servers[s.target], b.proxies[s.target]
	all := func(f func(*netfault.Proxy)) {
		for _, p := range b.proxies {
			f(p)
		}
	}
	undo := func() error {
		proxy.Heal()
		return nil
	}
	healAll := func() error {
		all((*netfault.Proxy).Heal)
		return nil
	}
	switch s.fault {
	case faultKillLeader:
		server = b.leader(ctx, server)
		fallthrough
	case faultKill:
		server.Kill()
		undo = server.Restart
	case faultTerminate:
		if err := server.Terminate(); err != nil {
			return err
		}
		undo = server.Restart // which kills what does not end in time
	case faultSuspend:
		if err := server.Suspend(); err != nil {
			return err
		}
		undo = server.Resume
	case faultCut:
		proxy.Cut()
	case faultBlackHole:
		proxy.BlackHole(netfault.Both)
	case faultDeaf:
		proxy.BlackHole(netfault.ToServer)
	case faultMute:
		proxy.BlackHole(netfault.ToClient)
	case faultHalfOpen:
		proxy.BreakClients()
	case faultClientsAlone:
		proxy.BreakServers()
	case faultSilent:
		proxy.Mute()
		proxy.Break() // so that there are new connections
	case faultCutAll:
		all((*netfault.Proxy).Cut)
		undo = healAll
	case faultBreakAll:
		all((*netfault.Proxy).Break)
	case faultDelayAll:
		all(func(p *netfault.Proxy) { p.Delay(netfault.Both, delay) })
		undo = healAll
	}
	sleep(ctx, s.lasts)
	return undo()
}

// delay is that of a path between two regions.
const delay = 50 * time.Millisecond

// heal makes sure that everything is there.
func (b *broker) heal() error {
	var errs []error
	for _, p := range b.proxies {
		p.Heal()
	}
	for _, s := range b.servers {
		if s.Running() {
			// It is not suspended any more, unless resuming it failed.
			errs = append(errs, s.Resume())
		} else {
			errs = append(errs, s.Restart())
		}
	}
	return errors.Join(errs...)
}
