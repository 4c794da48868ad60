package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// ExpirationComplete says that the time to pay for an order is over. Whether
// it was paid meanwhile the orders service knows. The expiration service
// publishes it.
type ExpirationComplete struct {
	OrderID string `json:"orderId"`
}

// Subject returns [ticketing.SubjectExpirationComplete].
func (ExpirationComplete) Subject() ticketing.Subject { return ticketing.SubjectExpirationComplete }

// Key returns the order's id.
func (e ExpirationComplete) Key() string { return e.OrderID }

// ExpirationCompletePublisher publishes [ExpirationComplete].
type ExpirationCompletePublisher = ticketing.Publisher[ExpirationComplete]

// ExpirationCompleteListener listens for [ExpirationComplete].
type ExpirationCompleteListener = ticketing.Listener[ExpirationComplete]
