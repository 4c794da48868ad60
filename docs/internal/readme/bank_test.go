package readme

import (
	"context"
	"errors"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// region event

type DepositReceived struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount"`
}

func (DepositReceived) Subject() ticketing.Subject { return "deposit:received" }
func (d DepositReceived) Key() string              { return d.ID } // deposits of one id stay in order

// endregion

// Bank is the service that the README tests.
type Bank struct {
	deposits *ticketing.Publisher[DepositReceived]
}

func NewBank(deposits *ticketing.Publisher[DepositReceived]) *Bank { return &Bank{deposits} }

func (b *Bank) Deposit(ctx context.Context, id string, amount int64) error {
	return b.deposits.Publish(ctx, DepositReceived{ID: id, Amount: amount})
}

// booked gets what is booked, where a test wants to know.
var booked chan DepositReceived

func book(ctx context.Context, id string, amount int64) error {
	if booked == nil {
		return nil
	}
	select {
	case booked <- DepositReceived{ID: id, Amount: amount}:
		return nil
	case <-ctx.Done():
		return errors.New("nobody waits for it")
	}
}
