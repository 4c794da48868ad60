package transactions

import (
	"context"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
)

// Do not copy these: they are what [Service.Deposit] is there to replace.

// DepositNotAwaited books d, publishes its event and does not look at the
// result. Nil says that it is booked, and nothing about the event, which is
// lost while the broker is away.
func (s *Service) DepositNotAwaited(ctx context.Context, d Deposit) error {
	if _, err := insert(ctx, s.db, d); err != nil {
		return err
	}
	s.received.PublishAsync(ctx, bank.DepositReceived(d))
	return nil
}

// DepositAwaited books d, publishes its event and waits for the result. While
// the broker is away that is an error, but the row stays: the user is told no,
// and the deposit is booked without an event. So it is when the process dies
// between the two.
func (s *Service) DepositAwaited(ctx context.Context, d Deposit) error {
	if _, err := insert(ctx, s.db, d); err != nil {
		return err
	}
	return s.received.Publish(ctx, bank.DepositReceived(d))
}
