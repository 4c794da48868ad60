package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// TicketCreated says that a ticket was put up for sale. The tickets service
// publishes it.
type TicketCreated struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Price  float64 `json:"price"`
	UserID string  `json:"userId"` // the seller
	// Version is the ticket's version after the change.
	Version int `json:"version"`
}

// Subject returns [ticketing.SubjectTicketCreated].
func (TicketCreated) Subject() ticketing.Subject { return ticketing.SubjectTicketCreated }

// Key returns the ticket's id.
func (e TicketCreated) Key() string { return e.ID }

// TicketCreatedPublisher publishes [TicketCreated].
type TicketCreatedPublisher = ticketing.Publisher[TicketCreated]

// TicketCreatedListener listens for [TicketCreated].
type TicketCreatedListener = ticketing.Listener[TicketCreated]
