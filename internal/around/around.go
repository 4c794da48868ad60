// Package around is what wrappers of brokers have in common: the optional
// interfaces of what they wrap stay visible, and a message that is passed on
// is settled through them.
package around

import (
	"context"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// CheckSubject asks s, which may be no [ticketing.SubjectChecker]: then there is
// nothing to object to, as without a wrapper.
func CheckSubject(ctx context.Context, s ticketing.Sender, subject ticketing.Subject) error {
	if c, ok := s.(ticketing.SubjectChecker); ok {
		return c.CheckSubject(ctx, subject)
	}
	return nil
}

// Capabilities are those that v declares, or none.
func Capabilities(v any) ticketing.Capabilities {
	if c, ok := v.(ticketing.CapabilityReporter); ok {
		return c.Capabilities()
	}
	return ticketing.Capabilities{}
}

// Fill makes in the message that next is, to be settled through s, which passes
// on to next what it is told.
func Fill(in, next *ticketing.Inbound, s ticketing.Settler) {
	in.Message, in.Sequence, in.Attempt, in.Failures = next.Message, next.Sequence, next.Attempt, next.Failures
	in.Bind(s)
}
