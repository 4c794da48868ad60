package events

import ticketing "github.com/ducnguyen96/ticketing-common"

// OrderCancelled says that an order was cancelled, by its buyer or because it
// expired, and that its ticket is free again. The orders service publishes it.
type OrderCancelled struct {
	ID     string               `json:"id"`
	Ticket OrderCancelledTicket `json:"ticket"`
}

// OrderCancelledTicket is the ticket that an [OrderCancelled] sets free, as
// the orders service knew it.
type OrderCancelledTicket struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

// Subject returns [ticketing.SubjectOrderCancelled].
func (OrderCancelled) Subject() ticketing.Subject { return ticketing.SubjectOrderCancelled }

// Key returns the order's id.
func (e OrderCancelled) Key() string { return e.ID }

// OrderCancelledPublisher publishes [OrderCancelled].
type OrderCancelledPublisher = ticketing.Publisher[OrderCancelled]

// OrderCancelledListener listens for [OrderCancelled].
type OrderCancelledListener = ticketing.Listener[OrderCancelled]
