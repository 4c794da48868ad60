// Package held keeps the messages that a Receiver handed over and that are not
// settled yet, by what identifies them there.
package held

import (
	"context"
	"sync"
)

// Table is a set of held messages. The zero value is an empty table, ready to
// use. Its methods may be called concurrently.
type Table[K comparable, T any] struct {
	mu    sync.Mutex
	items map[K]*T
	empty chan struct{} // made by WaitEmpty, closed when the table gets empty
}

// Add holds v under key. It returns false, and holds nothing new, when
// something is held there already.
func (t *Table[K, T]) Add(key K, v *T) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.items[key]; ok {
		return false
	}
	if t.items == nil {
		t.items = make(map[K]*T)
	}
	t.items[key] = v
	return true
}

// Update calls f with what is held under key and returns true, or returns
// false. f runs under the table's lock and must not call the table.
func (t *Table[K, T]) Update(key K, f func(*T)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.items[key]
	if ok {
		f(v)
	}
	return ok
}

// Each calls f for everything held, in no order, under the table's lock.
func (t *Table[K, T]) Each(f func(key K, v *T)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, v := range t.items {
		f(key, v)
	}
}

// Take removes and returns what is held under key, or nil.
func (t *Table[K, T]) Take(key K) *T {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.items[key]
	delete(t.items, key)
	t.signal()
	return v
}

// TakeAll removes and returns everything held, in no order.
func (t *Table[K, T]) TakeAll() []*T {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*T, 0, len(t.items))
	for _, v := range t.items {
		all = append(all, v)
	}
	clear(t.items)
	t.signal()
	return all
}

// Len returns how many are held.
func (t *Table[K, T]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.items)
}

// WaitEmpty blocks until nothing is held and returns nil, or until ctx ends
// and returns its error.
func (t *Table[K, T]) WaitEmpty(ctx context.Context) error {
	for {
		t.mu.Lock()
		if len(t.items) == 0 {
			t.mu.Unlock()
			return nil
		}
		if t.empty == nil {
			t.empty = make(chan struct{})
		}
		empty := t.empty
		t.mu.Unlock()
		select {
		case <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signal wakes WaitEmpty. The lock is held.
func (t *Table[K, T]) signal() {
	if len(t.items) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}
