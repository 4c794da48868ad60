package stanwrap

import (
	"slices"
	"sync"
	"time"
)

// window bounds the messages whose outcome is open, and queues those that
// stan.go has not seen yet, in the order in which they came.
type window struct {
	size int
	// roomy is how many places have to be free before blocked senders go on.
	// To wake one for every place would change goroutines for every message.
	roomy int

	mu      sync.Mutex
	open    int        // messages in the window
	first   *request   // one of them; they are linked
	queue   []*request // those that the writer has not taken
	batch   []*request // those that it took last
	waiting []*request // for a place
	closed  bool       // no one is let in any more

	wake  chan struct{} // tells the writer that the queue is not empty
	shut  chan struct{} // closed with the window
	empty chan struct{} // closed when the window is closed and nothing is open
}

func newWindow(size int) *window {
	return &window{
		size:  size,
		roomy: max(size/8, 1),
		wake:  make(chan struct{}, 1),
		shut:  make(chan struct{}),
		empty: make(chan struct{}),
	}
}

// enter lets r in, or puts it in line for a place: then r.admitted is closed
// when it is let in. It returns false when the window is closed.
func (w *window) enter(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if w.open < w.size && len(w.waiting) == 0 {
		w.admit(r)
		return true
	}
	r.admitted = make(chan struct{})
	w.waiting = append(w.waiting, r)
	return true
}

// admit queues r. The lock is held.
func (w *window) admit(r *request) {
	w.open++
	r.since = time.Now()
	if r.next = w.first; r.next != nil {
		r.next.prev = r
	}
	w.first = r
	w.queue = append(w.queue, r)
	if len(w.queue) == 1 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// giveUp takes r out of the line and reports whether it was still there: if
// not, it was let in.
func (w *window) giveUp(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.waiting, r)
	if i < 0 {
		return false
	}
	w.waiting = slices.Delete(w.waiting, i, i+1)
	return true
}

// leave frees r's place.
func (w *window) leave(r *request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		w.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	if free := w.size - w.open; len(w.waiting) > 0 && free >= w.roomy && !w.closed {
		n := min(len(w.waiting), free)
		for _, r := range w.waiting[:n] {
			w.admit(r)
			close(r.admitted)
		}
		w.waiting = slices.Delete(w.waiting, 0, n)
	}
	if w.closed && w.open == 0 {
		close(w.empty)
	}
}

// close lets no one in any more, and tells those in line. It may be called
// once.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.shut)
	if w.open == 0 {
		close(w.empty)
	}
}

// take moves the queue to the batch and returns it, for the writer. The last
// batch is its to overwrite.
func (w *window) take() []*request {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.batch)
	w.batch, w.queue = w.queue, w.batch[:0]
	return w.batch
}

// unsent returns all that is queued, the batch included, of which stan.go may
// have seen some.
func (w *window) unsent() []*request {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Concat(w.batch, w.queue)
	clear(w.queue)
	w.queue = w.queue[:0]
	return all
}

// find returns the messages in the window that match.
func (w *window) find(match func(*request) bool) []*request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*request
	for r := w.first; r != nil; r = r.next {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}
