package outbox

import (
	"context"
	"sync"
)

// InTx runs fn in a transaction of the store's and commits it, then wakes the
// relay of the same store in this process. If fn returns an error or panics
// the transaction is rolled back, and there is no event. The error of a commit
// may leave open whether it happened: run it again with the same ids
// ([ticketing.WithID]), and there is one row.
//
// In SQLite the transaction begins IMMEDIATE.
func InTx[T any](ctx context.Context, store interface {
	InTx(ctx context.Context, fn func(tx T) error) error
}, fn func(tx T) error) error {
	return store.InTx(ctx, fn)
}

// Wakeups is a [Store]'s Subscribe. The zero value is ready. The methods may
// be called concurrently.
type Wakeups struct {
	mu   sync.Mutex
	next int
	subs map[int]func()
}

// Wake calls every subscriber. A service calls it after it committed a
// transaction of its own; without that the relay's polling finds the event.
func (w *Wakeups) Wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wake := range w.subs {
		wake()
	}
}

// Subscribe has wake called by Wake until cancel is called. wake does not
// block.
func (w *Wakeups) Subscribe(wake func()) (cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs == nil {
		w.subs = make(map[int]func())
	}
	id := w.next
	w.next++
	w.subs[id] = wake
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subs, id)
	}
}
