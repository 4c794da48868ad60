package stanwrap

import "sync/atomic"

// link tells whether the NATS connection is up, and when that changes. It is
// fed by the connection's callbacks, one after the other, and read by anyone
// without blocking: the client itself holds its lock while it reconnects.
type link struct{ now atomic.Pointer[linkState] }

type linkState struct {
	up      bool
	changed chan struct{} // closed when this state is over
}

func newLinkState(up bool) *linkState {
	return &linkState{up: up, changed: make(chan struct{})}
}

func (l *link) load() *linkState { return l.now.Load() }

func (l *link) set(up bool) {
	if old := l.now.Swap(newLinkState(up)); old != nil {
		close(old.changed)
	}
}
