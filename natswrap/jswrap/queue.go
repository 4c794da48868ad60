package jswrap

import (
	"slices"
	"sync"
)

// queue is an unbounded FIFO with many producers and one consumer, which takes
// everything there is at once. Its users bound what they put in.
type queue[T any] struct {
	wake chan struct{} // has a token when something was put into an empty queue

	mu    sync.Mutex
	items []T
	spare []T // the batch that the consumer had before, to be used again
}

func newQueue[T any]() *queue[T] {
	return &queue[T]{wake: make(chan struct{}, 1)}
}

// push appends items. It does not block.
func (q *queue[T]) push(items ...T) {
	q.mu.Lock()
	first := len(q.items) == 0
	q.items = append(q.items, items...)
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// drop removes what match accepts and has not been taken.
func (q *queue[T]) drop(match func(T) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = slices.DeleteFunc(q.items, match)
}

// maxSpare bounds the memory that an idle queue keeps.
const maxSpare = 8192

// take removes everything and returns it, which may be nothing. The slice is
// the consumer's until its next take.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.items
	if cap(q.spare) > maxSpare {
		q.spare = nil
	}
	clear(q.spare) // it must not keep what it pointed at
	q.items = q.spare[:0]
	q.spare = batch
	return batch
}
