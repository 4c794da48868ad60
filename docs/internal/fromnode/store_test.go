package fromnode

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ducnguyen96/ticketing-common/events"
)

var errNoTicket = errors.New("no such ticket")

// Ticket is a row of the store.
type Ticket struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Price   float64 `json:"price"`
	UserID  string  `json:"userId"`
	Version int     `json:"version"`
	OrderID string  `json:"orderId"`
}

func (t Ticket) created() events.TicketCreated {
	return events.TicketCreated{ID: t.ID, Title: t.Title, Price: t.Price, UserID: t.UserID, Version: t.Version}
}

func (t Ticket) updated() events.TicketUpdated {
	return events.TicketUpdated{ID: t.ID, Title: t.Title, Price: t.Price, UserID: t.UserID, Version: t.Version, OrderID: t.OrderID}
}

// Store stands for a database.
type Store struct {
	mu      sync.Mutex
	tickets map[string]Ticket
}

func NewStore() *Store { return &Store{tickets: make(map[string]Ticket)} }

func (s *Store) Insert(t Ticket) Ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ID = fmt.Sprintf("t%d", len(s.tickets)+1)
	s.tickets[t.ID] = t
	return t
}

// Reserve reserves a ticket for an order. Asked again for the same order, it
// changes nothing.
func (s *Store) Reserve(id, orderID string) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tickets[id]
	if !ok {
		return t, fmt.Errorf("%w: %s", errNoTicket, id)
	}
	if t.OrderID != orderID {
		t.OrderID = orderID
		t.Version++
		s.tickets[id] = t
	}
	return t, nil
}

// Version is -1 for a ticket that is not there.
func (s *Store) Version(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tickets[id]; ok {
		return t.Version
	}
	return -1
}

func (s *Store) Put(e events.TicketUpdated) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[e.ID] = Ticket{ID: e.ID, Title: e.Title, Price: e.Price, UserID: e.UserID, Version: e.Version, OrderID: e.OrderID}
	return nil
}
