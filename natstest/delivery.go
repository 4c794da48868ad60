package natstest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// delivery is a message on its way from Deliver to a verdict. It settles the
// Inbound that it holds.
type delivery struct {
	recorder     *Recorder
	in           ticketing.Inbound
	group        string // empty: the only one there is
	untilSettled bool
	within       time.Duration
	timer        *time.Timer   // ends the wait
	done         chan struct{} // closed when finished

	// Guarded by the recorder's lock; result is open to all once done is
	// closed.
	member   *member
	finished bool
	parked   bool // it waits for an attempt, or did
	kept     []ticketing.Verdict
	result   Result
}

// SettleInbound implements [ticketing.Settler].
func (d *delivery) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	if !d.finish(v) {
		return ticketing.ErrSettled
	}
	return nil
}

// RetainInbound implements [ticketing.Retainer]: unless the test wants the
// last verdict, the first failed attempt is the result.
func (d *delivery) RetainInbound(_ *ticketing.Inbound, v ticketing.Verdict) bool {
	v.Kind = ticketing.Retry
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	if d.finished {
		return false
	}
	if v.Err != nil { // otherwise it only stands behind another
		if !d.untilSettled {
			d.finishLocked(v)
			return false
		}
		d.kept = append(d.kept, v)
	}
	d.parked = true
	d.recorder.wake() // there may be room in the window
	d.timer.Reset(v.After + d.within)
	return true
}

// finish ends the delivery and reports whether it was not over before.
func (d *delivery) finish(v ticketing.Verdict) bool {
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	return d.finishLocked(v)
}

func (d *delivery) finishLocked(v ticketing.Verdict) bool {
	if d.finished {
		return false
	}
	d.finished = true
	d.result = Result{Verdict: v, Kept: d.kept, ID: d.in.ID, Group: d.member.group}
	d.recorder.release(d.member, d)
	close(d.done)
	return true
}

// overdue says what Deliver waited for in vain.
func (d *delivery) overdue() string {
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	s := fmt.Sprintf("the listener of group %q did not settle the message within %v", d.member.group, d.within)
	if n := len(d.kept); n > 0 {
		last := d.kept[n-1]
		s += fmt.Sprintf(" of when it was due again; it kept it after failed attempt %d, for %v: %v", n, last.After, last.Err)
	}
	return s
}

func (r *Recorder) nextDelivery() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliveries++
	return r.deliveries
}

// handOver gives d to a member. It waits for one until d's timer ends.
func (r *Recorder) handOver(d *delivery) error {
	for {
		r.mu.Lock()
		mb, err := r.choose(d)
		if err != nil {
			r.mu.Unlock()
			return err
		}
		if mb == nil {
			changed := r.changed()
			r.mu.Unlock()
			select {
			case <-changed:
				continue
			case <-d.timer.C:
				r.forget(changed)
				return r.noTaker(d)
			}
		}
		d.member = mb
		mb.held[d] = struct{}{}
		r.turn++
		mb.turn = r.turn
		r.mu.Unlock()

		select {
		case mb.inbox <- d:
			return nil
		case <-mb.left:
			r.giveUp(mb, d)
		case <-d.timer.C:
			r.giveUp(mb, d)
			return fmt.Errorf("the listener of group %q has not returned from the message before this one after %v", mb.group, d.within)
		}
	}
}

func (r *Recorder) giveUp(mb *member, d *delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(mb, d)
}

// choose returns the member that gets d, or nil when there is none with room.
// The lock is held.
func (r *Recorder) choose(d *delivery) (*member, error) {
	groups := r.groups(d.in.Subject)
	group := d.group
	if group == "" {
		if len(groups) > 1 {
			return nil, fmt.Errorf("the groups %s listen on it: choose one with ToGroup", quoted(groups))
		}
		if len(groups) == 1 {
			group = groups[0]
		}
	}
	var best *member
	for _, mb := range r.members {
		if mb.station != (station{d.in.Subject, group}) || mb.full() {
			continue
		}
		if best == nil || len(mb.held) < len(best.held) || len(mb.held) == len(best.held) && mb.turn < best.turn {
			best = mb
		}
	}
	return best, nil
}

// groups returns the names of the groups that listen on s, sorted. A member
// whose ctx has ended is none any more, also before Receive has noticed. The
// lock is held.
func (r *Recorder) groups(s ticketing.Subject) []string {
	names := make(map[string]struct{})
	for _, mb := range r.members {
		if mb.subject == s && !mb.stopped() {
			names[mb.group] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// noTaker says why nobody took d.
func (r *Recorder) noTaker(d *delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, group := range r.groups(d.in.Subject) {
		if d.group == "" || d.group == group { // there is one, or choose would have complained
			return fmt.Errorf("group %q holds its window of unsettled messages, for %v", group, d.within)
		}
	}
	var b strings.Builder
	if d.group == "" {
		fmt.Fprintf(&b, "no listener on it within %v; Listen has to run in another goroutine", d.within)
	} else {
		fmt.Fprintf(&b, "no listener of group %q on it within %v", d.group, d.within)
	}
	var gone []string
	for st := range r.gone {
		if st.subject == d.in.Subject && (d.group == "" || d.group == st.group) {
			gone = append(gone, st.group)
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		fmt.Fprintf(&b, "\nhas stopped: %s", quoted(gone))
	}
	listening := make(map[ticketing.Subject]struct{})
	for _, mb := range r.members {
		listening[mb.subject] = struct{}{}
	}
	for _, s := range slices.Sorted(maps.Keys(listening)) {
		if groups := r.groups(s); len(groups) > 0 {
			fmt.Fprintf(&b, "\nlistening on %s: %s", s, quoted(groups))
		}
	}
	if len(listening) == 0 {
		b.WriteString("\nnobody listens on any subject")
	}
	return errors.New(b.String())
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
