package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// OrderCreated says that somebody ordered a ticket and has until ExpiresAt to
// pay. The orders service publishes it.
type OrderCreated struct {
	ID        string             `json:"id"`
	Status    OrderStatus        `json:"status"`
	UserID    string             `json:"userId"` // the buyer
	ExpiresAt Timestamp          `json:"expiresAt"`
	Ticket    OrderCreatedTicket `json:"ticket"`
}

// OrderCreatedTicket is the ticket that an [OrderCreated] is for, as the
// orders service knew it.
type OrderCreatedTicket struct {
	ID      string  `json:"id"`
	Price   float64 `json:"price"`
	Version int     `json:"version"`
}

// Subject returns [ticketing.SubjectOrderCreated].
func (OrderCreated) Subject() ticketing.Subject { return ticketing.SubjectOrderCreated }

// Key returns the order's id.
func (e OrderCreated) Key() string { return e.ID }

// OrderCreatedPublisher publishes [OrderCreated].
type OrderCreatedPublisher = ticketing.Publisher[OrderCreated]

// OrderCreatedListener listens for [OrderCreated].
type OrderCreatedListener = ticketing.Listener[OrderCreated]
