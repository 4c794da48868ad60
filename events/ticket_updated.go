package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// TicketUpdated says that a ticket was changed: its title or price, or that it
// was reserved for an order or set free again. The tickets service publishes
// it.
type TicketUpdated struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Price  float64 `json:"price"`
	UserID string  `json:"userId"` // the seller
	// Version is the ticket's version after the change.
	Version int `json:"version"`
	// OrderID is the order that the ticket is reserved for. It is empty, and
	// not on the wire, while the ticket is free.
	OrderID string `json:"orderId,omitempty"`
}

// Subject returns [ticketing.SubjectTicketUpdated].
func (TicketUpdated) Subject() ticketing.Subject { return ticketing.SubjectTicketUpdated }

// Key returns the ticket's id.
func (e TicketUpdated) Key() string { return e.ID }

// TicketUpdatedPublisher publishes [TicketUpdated].
type TicketUpdatedPublisher = ticketing.Publisher[TicketUpdated]

// TicketUpdatedListener listens for [TicketUpdated].
type TicketUpdatedListener = ticketing.Listener[TicketUpdated]
