package outbox

import (
	"log/slog"
	"sync"
	"time"
)

// sayAgain is how often a trouble that goes on is logged.
const sayAgain = 30 * time.Second

// throttle logs each kind of trouble when it comes up, and then now and then,
// with how often it happened since.
type throttle struct {
	log   *slog.Logger
	mu    sync.Mutex
	kinds map[string]*trouble
}

type trouble struct {
	last  time.Time
	times int
}

// error logs err as of one kind.
func (t *throttle) error(now time.Time, kind, msg string, err error, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = make(map[string]*trouble)
	}
	tr := t.kinds[kind]
	if tr == nil {
		tr = new(trouble)
		t.kinds[kind] = tr
	}
	tr.times++
	if !tr.last.IsZero() && now.Sub(tr.last) < sayAgain {
		return
	}
	t.log.Error(msg, append(args, "times", tr.times, "error", err)...)
	tr.last, tr.times = now, 0
}

// meter counts events by the second.
type meter struct {
	mu      sync.Mutex
	seconds [meterSeconds]struct {
		at int64
		n  int
	}
}

const meterSeconds = 10

func (m *meter) add(now time.Time, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := now.Unix()
	s := &m.seconds[at%meterSeconds]
	if s.at != at {
		s.at, s.n = at, 0
	}
	s.n += n
}

func (m *meter) perSecond(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, s := range m.seconds {
		if now.Unix()-s.at < meterSeconds {
			n += s.n
		}
	}
	return float64(n) / meterSeconds
}
