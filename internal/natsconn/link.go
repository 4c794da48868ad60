package natsconn

import "sync/atomic"

// Link tells whether a client can be used now, and when that changes. Whoever
// knows feeds it; anyone reads it without blocking, which the NATS client does
// not offer: it holds its lock while it reconnects.
//
// The zero value is down. Set is for one goroutine at a time.
type Link struct{ now atomic.Pointer[LinkState] }

// LinkState is a Link between two changes.
type LinkState struct {
	// Up reports whether the client can be used.
	Up bool
	// Changed is closed when this state is over.
	Changed <-chan struct{}

	changed chan struct{}
}

func newLinkState(up bool) *LinkState {
	changed := make(chan struct{})
	return &LinkState{Up: up, Changed: changed, changed: changed}
}

// Load returns the state that holds now.
func (l *Link) Load() *LinkState {
	for {
		if s := l.now.Load(); s != nil {
			return s
		}
		l.now.CompareAndSwap(nil, newLinkState(false))
	}
}

// Set begins a new state, also where up is what it was.
func (l *Link) Set(up bool) {
	if old := l.now.Swap(newLinkState(up)); old != nil {
		close(old.changed)
	}
}
