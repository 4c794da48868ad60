package jswrap

import (
	"context"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// receivers are the running Receives of a client.
type receivers struct {
	mu      sync.Mutex
	set     map[*receiver]struct{}
	stopped bool
	empty   chan struct{} // made by stop, closed when set is empty

	patience context.Context // ends when nothing may be waited for any more
	hurry    context.CancelFunc
	grace    time.Duration // giveBackGrace, but for tests
}

func (rs *receivers) init() {
	rs.patience, rs.hurry = context.WithCancel(context.Background())
	rs.grace = giveBackGrace
}

func (rs *receivers) add(r *receiver) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.stopped {
		return ticketing.ErrClosed
	}
	if rs.set == nil {
		rs.set = make(map[*receiver]struct{})
	}
	rs.set[r] = struct{}{}
	return nil
}

func (rs *receivers) remove(r *receiver) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.set, r)
	if len(rs.set) == 0 && rs.empty != nil {
		close(rs.empty)
		rs.empty = nil
	}
}

func (rs *receivers) each(f func(*receiver)) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r := range rs.set {
		f(r)
	}
}

// stop ends all Receives, and waits for them until ctx ends; then it makes
// them hurry.
func (rs *receivers) stop(ctx context.Context, why error) {
	rs.mu.Lock()
	rs.stopped = true
	for r := range rs.set {
		r.fail(why)
	}
	var empty chan struct{}
	if len(rs.set) > 0 {
		empty = make(chan struct{})
		rs.empty = empty
	}
	rs.mu.Unlock()
	defer rs.hurry()
	if empty == nil {
		return
	}
	select {
	case <-empty:
		return
	case <-ctx.Done():
		rs.hurry()
	}
	select {
	case <-empty:
	case <-time.After(cutGrace / 2):
	}
}
