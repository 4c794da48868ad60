package outbox

import (
	"hash/maphash"
	"math"
	"time"
)

// Rows of one key wait for each other, so a few keys with long backlogs could be
// all that is in memory, with an event of each on its way and everybody else
// behind them in the table. Such a key has a share of the memory, and the pass
// goes on behind its rows. When those in memory run low, a read from the first that
// was left out brings more, and then the pass goes on where it was.

const (
	// fewGoing is how many events in flight, or ready to be, are too few to wait
	// for.
	fewGoing = 16
	// maxRest bounds the pause after a read that looks ahead.
	maxRest = time.Second
)

// left is what a pass has left out. Later rows of these keys must not overtake
// it.
type left struct {
	keys map[uint64]struct{}
	from int64 // the first of its rows is behind this number
}

func nothingLeft() left { return left{from: math.MaxInt64} }

func (l *left) add(key uint64, seq int64) {
	if l.keys == nil {
		l.keys = make(map[uint64]struct{})
	}
	l.keys[key] = struct{}{}
	l.from = min(l.from, seq-1)
}

// narrow reports whether what is in memory keeps few events going.
func (t *term) narrow() bool {
	going := t.inFlight + t.queue.waiting - t.queue.stalled - t.queue.behind
	return going < min(fewGoing, t.r.o.Window)
}

// enough reports whether rows wait in memory for their turn, so that there is no
// need to read but for others than theirs.
func (t *term) enough() bool {
	return t.queue.waiting-t.queue.stalled >= max(t.batch()/2, 1) || t.queue.behindBytes >= t.r.o.MaxBytes/4
}

// full says in eighths how full the memory is of rows that wait for others of
// their key. Those that wait for a stalled subject have a part of it for
// themselves.
func (t *term) full() int {
	o := &t.r.o
	return max(8*t.queue.behind/max(o.MaxRows-t.queue.stalled, 1), 8*t.queue.behindBytes/o.MaxBytes)
}

// leaveOut leaves a row in the table if memory is half full of rows that wait
// for others, and its key has its share of them. Then it does so with all of the
// key that follow, so that none overtakes.
func (t *term) leaveOut(it *item) bool {
	key := it.Message.Key
	if key == "" {
		return false
	}
	p := &t.pass
	if len(p.left.keys) > 0 {
		if _, ok := p.left.keys[maphash.String(p.seed, key)]; ok {
			return true
		}
	}
	if t.full() < 4 {
		return false
	}
	o, l := &t.r.o, t.queue.lanes[key]
	if l == nil || l.stalled || l.rows < max(o.MaxRows/64, 1) && l.bytes < o.MaxBytes/64 {
		return false
	}
	p.left.add(maphash.String(p.seed, key), it.Seq)
	return true
}

// hungry reports whether keys of which rows were left out are to get more.
func (t *term) hungry() bool { return len(t.pass.left.keys) > 0 && t.full() < 2 }

// canGoBack reports whether rows that were left out may be read again in this
// pass: it is bounded, as it has to be for more than one read, and not too old.
// What is before them is in memory, or skipped, or has not to be waited for.
func (p *pass) canGoBack(now time.Time) bool {
	return p.horizon != Horizon{} && now.Sub(p.began) < longestPass && len(p.skipped) < maxSkipped
}

// wentBack takes in what a read of rows that had been left out came to. Between
// where it has ended and where the pass is, there may be more of their keys.
func (p *pass) wentBack(before left, res fetched) {
	if p.reading && res.last >= p.after {
		p.after = res.last
		return
	}
	for key := range before.keys {
		p.left.add(key, res.last+1)
	}
}

// rest is how long a pass that has left rows out, or begins though there is
// enough in memory, waits before it reads on: that is to take a fifth of the time.
func rest(read time.Duration) time.Duration { return min(4*read, maxRest) }
