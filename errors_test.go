package ticketing_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestMarkedErrorsKeepTheirCauseAndNilStaysNil(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{ticketing.Permanent(cause), ticketing.RetryAfter(time.Second, cause), ticketing.RetryAfter(-1, cause), ticketing.Wait(cause)} {
		if !errors.Is(err, cause) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
	if ticketing.Permanent(nil) != nil || ticketing.RetryAfter(time.Second, nil) != nil || ticketing.Wait(nil) != nil {
		t.Error("a success became an error")
	}
}

func TestNamesReadWell(t *testing.T) {
	got := fmt.Sprint(ticketing.OutcomeUnknown, ticketing.OutcomeNotSent, ticketing.OutcomeRejected, ticketing.OutcomeBusy,
		ticketing.Ack, ticketing.Retry, ticketing.Drop, ticketing.Abandon, ticketing.VerdictKind(9))
	want := "unknown not sent rejected busy ack retry drop abandon VerdictKind(9)"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	err := ticketing.NewPublishError(ticketing.OutcomeNotSent, &ticketing.Message{ID: "1", Subject: "a"}, errors.New("why"))
	if err.Error() != "ticketing: publish a (id 1): not sent: why" {
		t.Errorf("%q", err)
	}
}

func TestAnInboundWithoutASettlerCanBeSettledOnce(t *testing.T) {
	var in ticketing.Inbound
	if !in.Retain(ticketing.Verdict{Kind: ticketing.Retry}) {
		t.Error("it cannot be kept")
	}
	if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
		t.Error(err)
	}
	if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
		t.Errorf("a second settlement = %v", err)
	}
}
