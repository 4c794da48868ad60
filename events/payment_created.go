package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// PaymentCreated says that an order was paid. The payments service publishes
// it.
type PaymentCreated struct {
	ID       string `json:"id"`
	OrderID  string `json:"orderId"`
	StripeID string `json:"stripeId"` // the charge at Stripe
}

// Subject returns [ticketing.SubjectPaymentCreated].
func (PaymentCreated) Subject() ticketing.Subject { return ticketing.SubjectPaymentCreated }

// Key returns the payment's id: the payment is what was created. Two payments
// of one order may be handled at the same time; a handler that changes the
// order guards it with the order's version.
func (e PaymentCreated) Key() string { return e.ID }

// PaymentCreatedPublisher publishes [PaymentCreated].
type PaymentCreatedPublisher = ticketing.Publisher[PaymentCreated]

// PaymentCreatedListener listens for [PaymentCreated].
type PaymentCreatedListener = ticketing.Listener[PaymentCreated]
