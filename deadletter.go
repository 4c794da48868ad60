package ticketing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Headers that a dead letter has besides those the event came with. NATS
// Streaming carries them in a CloudEvents envelope alone.
const (
	HeaderDeadReason   = "Ticketing-Dead-Reason"   // the last error, on one line, cut at 1 KiB
	HeaderDeadAttempts = "Ticketing-Dead-Attempts" // how often the event was tried
	HeaderDeadGroup    = "Ticketing-Dead-Group"    // whose handler failed
	HeaderDeadSubject  = "Ticketing-Dead-Subject"  // where the event was published
	HeaderDeadSequence = "Ticketing-Dead-Sequence" // its position there
	HeaderDeadTime     = "Ticketing-Dead-Time"     // the event's [Message].Time, RFC 3339
	// HeaderDeadCut says what is missing of an event that could not be stored
	// as it came, because the subject and the headers of a dead letter make
	// it larger than the broker takes, or because it has headers that this
	// module does not send: "headers", or "headers and 4096 bytes". The whole
	// event is still where it was published, as long as that keeps it.
	HeaderDeadCut = "Ticketing-Dead-Cut"
)

// DeadLetterPrefix is the first token of the subjects that dead letters are
// stored under.
const DeadLetterPrefix = "dead"

// DeadLetterSubject is where a listener's dead letters go:
// dead.<group>.<subject>.
func DeadLetterSubject(group string, s Subject) Subject {
	return Subject(DeadLetterPrefix + "." + group + "." + string(s))
}

// DeadLetter is an event that its group cannot handle.
type DeadLetter struct {
	Inbound  *Inbound // the event as it arrived; it is the listener's to settle
	Group    string
	Subject  Subject // where it is stored now
	Attempts int     // zero when it could not even be decoded
	Err      error   // why
}

// checkDeadLetters finds out whether dead letters have a place, before there
// are any: an event that can neither be handled nor put away fills the window.
func (r *run) checkDeadLetters(ctx context.Context) error {
	sender := r.opts.DeadLetters
	if sender == nil {
		return fmt.Errorf("%w: the receiver is no Sender, so set ListenerOptions.DeadLetters", ErrNoDeadLetters)
	}
	subject := DeadLetterSubject(r.sub.Group, r.sub.Subject)
	if err := subject.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDeadLetters, err)
	}
	checker, ok := sender.(SubjectChecker)
	if !ok {
		return nil
	}
	switch err := checker.CheckSubject(ctx, subject); {
	case errors.Is(err, ErrNoStream):
		return fmt.Errorf("%w: %w", ErrNoDeadLetters, err)
	case err != nil && ctx.Err() == nil:
		r.opts.Logger.Warn("could not check the place for dead letters", "subject", subject, "error", err)
	}
	return nil
}

// bury stores j as a dead letter and takes it off the subscription when that
// is confirmed. Until then j stays where it is.
func (r *run) bury(j *job) outcome {
	subject := DeadLetterSubject(r.sub.Group, r.sub.Subject)
	log := r.opts.Logger.With("subject", r.sub.Subject, "group", r.sub.Group, "id", j.in.ID, "dead_letter", subject)
	err := r.storeDead(j)
	for errors.Is(err, ErrInvalidEvent) && j.cutMore() {
		log.Warn("dead letter refused as it is; storing less of it", "error", err)
		err = r.storeDead(j)
	}
	if err != nil {
		j.deadFailures++
		after := r.backoff(j.deadFailures)
		log.Error("dead letter not stored; the event stays where it is", "retry_after", after, "reason", j.dead, "error", err)
		return r.keep(j, Verdict{Kind: Retry, After: after, Err: err})
	}
	log.Error("event is a dead letter", "attempts", j.tried(), "reason", j.dead)
	r.tellDead(j, subject)
	r.settle(j, Verdict{Kind: Drop, Err: j.dead, Attempts: j.tried()})
	return outcome{}
}

func (r *run) storeDead(j *job) error {
	stored := make(chan error, 1)
	r.opts.DeadLetters.Send(j.ctx, r.deadLetter(j), func(err error) { stored <- err })
	return <-stored
}

// deadCut is how much of an event its dead letter leaves out.
type deadCut struct {
	headers bool
	bytes   int // at the end of the payload
}

// firstCut is more than what makes a dead letter larger than its event: the
// subject, and the headers of which the reason is the longest.
const firstCut = 4 << 10

// cutMore leaves out more than before, and reports whether there was any left:
// an event that can neither be handled nor put away would keep its place in the
// window for ever.
func (j *job) cutMore() bool {
	switch left := len(j.in.Data) - j.deadCut.bytes; {
	case !j.deadCut.headers:
		j.deadCut.headers = true
	case left == 0:
		return false
	default:
		j.deadCut.bytes += min(max(j.deadCut.bytes, firstCut), left)
	}
	return true
}

func (c deadCut) String() string {
	if c.bytes > 0 {
		return fmt.Sprintf("headers and %d bytes", c.bytes)
	}
	return "headers"
}

// tellDead calls the hook, which is the user's code and may panic.
func (r *run) tellDead(j *job, stored Subject) {
	if r.opts.OnDeadLetter == nil {
		return
	}
	err := func() (err error) {
		defer recoverAs(&err)
		r.opts.OnDeadLetter(DeadLetter{
			Inbound:  j.in,
			Group:    r.sub.Group,
			Subject:  stored,
			Attempts: j.tried(),
			Err:      j.dead,
		})
		return nil
	}()
	if err != nil {
		r.opts.Logger.Error("OnDeadLetter failed", "subject", r.sub.Subject, "group", r.sub.Group, "error", err)
	}
}

// deadLetter is the message that stands for j among the dead.
func (r *run) deadLetter(j *job) *Message {
	header := make(map[string][]string, len(j.in.Header)+6)
	id, cut := j.in.ID, j.deadCut
	if cut.headers {
		header[HeaderDeadCut] = []string{cut.String()}
		id = strings.TrimSpace(oneLine(id, maxDeadID)) // it was a header, too
		if id == "" {
			id = string(r.sub.Subject) + "/" + strconv.FormatUint(j.in.Sequence, 10)
		}
	} else {
		for name, values := range j.in.Header {
			header[name] = values
		}
	}
	for name, value := range map[string]string{
		HeaderDeadReason:   oneLine(j.dead.Error(), 1<<10),
		HeaderDeadAttempts: strconv.Itoa(j.tried()),
		HeaderDeadGroup:    r.sub.Group,
		HeaderDeadSubject:  string(r.sub.Subject),
		HeaderDeadSequence: strconv.FormatUint(j.in.Sequence, 10),
		HeaderDeadTime:     j.in.Time.UTC().Format(time.RFC3339Nano),
	} {
		header[name] = []string{value}
	}
	return &Message{
		ID:       id,
		DedupeID: deadDedupeID(id, r.sub, j.in.Sequence),
		Key:      j.in.Key,
		Subject:  DeadLetterSubject(r.sub.Group, r.sub.Subject),
		Time:     time.Now(),
		Header:   header,
		Data:     j.in.Data[:len(j.in.Data)-cut.bytes],
	}
}

// deadDedupeID is what the broker tells the dead letter of a message by: the
// same at each of its deliveries, and another for every other message. The
// event's id alone would not do, nor with the group. A stream that stores both
// would take the dead letter for a copy of the event; two events may have one id,
// on different subjects or from different sources; and a replay that fails has
// its event's. What is taken for a copy is nowhere.
func deadDedupeID(id string, s Subscription, sequence uint64) string {
	return id + "/dead/" + s.Group + "/" + string(s.Subject) + "/" + strconv.FormatUint(sequence, 10)
}

// maxDeadID bounds the id of an event that had none of ours.
const maxDeadID = 256

// oneLine makes s fit into a header: at most limit bytes, valid UTF-8, and no
// control characters.
func oneLine(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "")
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return ' '
		}
		return c
	}, s)
}
