package events

// OrderStatus is where an order stands. It is an open enum: a status that is
// not listed here decodes as it is.
type OrderStatus string

const (
	// OrderStatusCreated: the order was made, the ticket is not reserved yet.
	OrderStatusCreated OrderStatus = "created"
	// OrderStatusCancelled: the ticket was reserved already, the buyer
	// cancelled, or the order expired before it was paid.
	OrderStatusCancelled OrderStatus = "cancelled"
	// OrderStatusAwaitingPayment: the ticket is reserved for the order.
	OrderStatusAwaitingPayment OrderStatus = "awaiting:payment"
	// OrderStatusComplete: the order is paid.
	OrderStatusComplete OrderStatus = "complete"
)
