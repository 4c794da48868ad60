package natstest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ducnguyen96/ticketing-common"
)

// Fault is how a publish fails. The zero value is an event whose outcome is
// unknown and that is not stored.
type Fault struct {
	// Outcome is what the publisher is told.
	Outcome ticketing.Outcome
	// Err is the reason behind the outcome, such as [ticketing.ErrNoStream].
	// Nil is replaced by an error that says that a test scripted it.
	Err error
	// Stored records the event all the same, as a broker does whose
	// acknowledgement gets lost. Only [ticketing.OutcomeUnknown] can be: with
	// another outcome Send panics.
	Stored bool
}

var errScripted = errors.New("scripted by the test")

// step is one piece of the script, used once.
type step struct {
	fault func(*ticketing.Message) *Fault
}

// FailNext makes the next publishes fail, one with each outcome, whatever
// their subject. None of them is recorded, also where the outcome is unknown:
// an unknown outcome of an event that is stored is a [Fault] of
// [Recorder.Intercept].
func (r *Recorder) FailNext(outcomes ...ticketing.Outcome) {
	for _, o := range outcomes {
		r.Intercept(func(*ticketing.Message) *Fault { return &Fault{Outcome: o} })
	}
}

// Intercept lets f decide about publishes until it has made one fail. f
// returns nil to let a publish through to the intercept behind it, the one that
// was added after it, and at last into the record. A fault makes the publish
// fail, and ends the intercept.
//
// f runs in the publisher's goroutine, after the event was found valid, for
// one publish at a time. It must not block, and not publish through r.
func (r *Recorder) Intercept(f func(m *ticketing.Message) *Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = append(r.script, &step{f})
}

// sendScripted sends m while there is a script.
func (r *Recorder) sendScripted(m *ticketing.Message) error {
	r.scripting.Lock()
	defer r.scripting.Unlock()
	f := r.fault(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		r.record(m)
		return nil
	}
	if f.Stored {
		if f.Outcome != ticketing.OutcomeUnknown {
			panic(fmt.Sprintf("natstest: Fault{Outcome: %v, Stored: true}: only an event with an unknown outcome can be stored", f.Outcome))
		}
		r.record(m)
	}
	err := f.Err
	if err == nil {
		err = errScripted
	}
	return ticketing.NewPublishError(f.Outcome, m, err)
}

// fault asks the script, without the lock, which f may need for Messages.
func (r *Recorder) fault(m *ticketing.Message) *Fault {
	r.mu.Lock()
	script := slices.Clone(r.script)
	r.mu.Unlock()
	for _, s := range script {
		f := s.fault(m)
		if f == nil {
			continue
		}
		r.mu.Lock()
		if i := slices.Index(r.script, s); i >= 0 {
			r.script = slices.Delete(r.script, i, i+1)
		}
		r.mu.Unlock()
		return f
	}
	return nil
}
