// Package bank has what the bank's services tell each other.
package bank

import ticketing "github.com/ducnguyen96/ticketing-common"

// SubjectDepositReceived is the subject of [DepositReceived].
const SubjectDepositReceived ticketing.Subject = "deposit:received"

// DepositReceived says that the transaction service has booked a deposit.
type DepositReceived struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
}

// Subject implements [ticketing.Event].
func (DepositReceived) Subject() ticketing.Subject { return SubjectDepositReceived }

// Key implements [ticketing.Keyed]: the deposits of an account stay in order.
func (d DepositReceived) Key() string { return d.Account }
