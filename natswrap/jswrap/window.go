package jswrap

import "time"

// The bounds of a window that the Receiver chooses. Its first size is the
// floor, twice the concurrency; every half a window of settled messages may
// double it, so that a quick handler has the largest after a few milliseconds,
// and a slow one leaves the backlog to the others.
const (
	maxWindow      = 4096
	maxWindowBytes = 8 << 20     // what a window of average messages may take
	maxHeldBytes   = 64 << 20    // the same, with those that wait for an attempt
	windowWork     = time.Second // how much work a window is
)

// window is how many messages may be asked for and held. The zero value of
// fixed makes it follow the rate at which messages are settled.
type window struct {
	fixed int
	floor int
	size  int

	// The current measurement: settled messages since a moment from which on
	// there was always something to work on.
	since    time.Time
	settled  int
	avgBytes int // of the messages that came
}

func newWindow(fixed, concurrency int) window {
	floor := max(2*concurrency, 2)
	w := window{fixed: fixed, floor: floor, size: floor}
	if fixed > 0 {
		w.size = fixed
	}
	return w
}

// hard is what the size never exceeds.
func (w *window) hard() int {
	if w.fixed > 0 {
		return w.fixed
	}
	return max(w.floor, maxWindow)
}

// free is how many more may be asked for. held are the messages that are held,
// parked those among them that wait for their next attempt: they keep their
// slot, but they are nobody's work now, and must not stop the others.
func (w *window) free(asked, held, parked int) int {
	if w.fixed > 0 {
		return w.fixed - asked - held
	}
	most := w.hard()
	if w.avgBytes > 0 {
		most = max(w.floor, min(most, maxHeldBytes/w.avgBytes))
	}
	return min(w.size-(held-parked), most-held) - asked
}

// batch is the least that is worth a request while another one is open.
func (w *window) batch() int { return max(1, w.size/2) }

// arrived notes a message of n bytes. idle says that there was nothing to work
// on before it.
func (w *window) arrived(n int, idle bool) {
	if w.fixed > 0 {
		return
	}
	w.avgBytes += (n - w.avgBytes) / 8
	if idle {
		w.since, w.settled = time.Now(), 0
	}
}

// done notes a message that was settled.
func (w *window) done() {
	if w.fixed > 0 {
		return
	}
	w.settled++
	if 2*w.settled >= w.size {
		w.adapt(time.Now())
	}
}

// tick is called now and then while there is work, so that a handler that got
// slow is noticed before it has settled half a window.
func (w *window) tick(now time.Time) {
	if w.fixed == 0 && now.Sub(w.since) >= windowWork {
		w.adapt(now)
	}
}

// adapt ends a measurement: the size follows the rate, at most by a factor of
// two.
func (w *window) adapt(now time.Time) {
	elapsed := max(now.Sub(w.since), time.Microsecond)
	target := float64(w.settled) / elapsed.Seconds() * windowWork.Seconds()
	limit := maxWindow
	if w.avgBytes > 0 {
		limit = min(limit, maxWindowBytes/w.avgBytes)
	}
	target = max(float64(w.size)/2, min(target, 2*float64(w.size), float64(limit)))
	w.size = max(int(target), w.floor)
	w.since, w.settled = now, 0
}
