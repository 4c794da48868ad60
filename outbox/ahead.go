package outbox

import "time"

// Rows of one key wait for each other, so a few keys with long backlogs could be
// all that is in memory, with an event of each on its way and everybody else
// behind them in the table. Such a key gets no more than its share, and the pass
// looks on behind its rows. They come again with the next pass, from the lowest on,
// as soon as their share is used up.

// fewGoing is how many events in flight, or ready to be, are too few to wait for.
const fewGoing = 16

// narrow reports whether what is in memory keeps few events going.
func (t *term) narrow() bool {
	going := t.inFlight + t.queue.waiting - t.queue.stalled - t.queue.behind
	return going < min(fewGoing, t.r.o.Window)
}

// load says in eighths how full the memory is of rows that wait for others of
// their key, or of bytes.
func (t *term) load() int {
	o := &t.r.o
	return max(8*t.queue.behind/o.MaxRows, 8*t.queue.bytes/o.MaxBytes)
}

// overShare reports whether a row has to be left out because the memory fills
// with rows that wait and its key has many of them.
func (t *term) overShare(key string) bool {
	o := &t.r.o
	if key == "" || t.load() < 4 {
		return false
	}
	l := t.queue.lanes[key]
	if l == nil {
		return false
	}
	share := o.MaxRows / 64
	if t.pass.rowSize > 0 {
		share = min(share, o.MaxBytes/64/t.pass.rowSize)
	}
	return l.rows >= max(share, 1)
}

// hungry reports whether keys whose rows were left out are to get more.
func (t *term) hungry() bool { return t.pass.leftOut && t.load() < 2 }

// aheadAt is when a pass that has left rows out reads on. What it looks for is
// behind them, however many there are: a fifth of the time.
func (p *pass) aheadAt(now time.Time) time.Time {
	if p.leftOut && p.found == 0 {
		return p.lastRead.Add(4 * p.took)
	}
	return now
}
