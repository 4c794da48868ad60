// Package storetest holds an outbox store to the contract of [outbox.Store],
// and the relay over it to its promises, faults included.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness { … })
//	}
package storetest

import (
	"context"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Harness is how the suite gets at one outbox: tables of its own, migrated
// and empty.
type Harness struct {
	// Store is the outbox.
	Store outbox.Store
	// Open returns another Store over the same tables, as another process has
	// one.
	Open func(t *testing.T) outbox.Store
	// Empty returns a Store over a database that does not have the tables.
	Empty func(t *testing.T) Migrator
	// Begin begins a transaction of a service.
	Begin func(ctx context.Context) (Tx, error)
	// InTx runs fn by outbox.InTx. The sender is that of the transaction.
	InTx func(ctx context.Context, fn func(tx ticketing.Sender) error) error
	// Lose takes commits back, as a failover does to a replica that did not have
	// them yet: the rows with a sequence number from seq on are gone, and the
	// next one draws seq again. Without it the tests of that are skipped.
	Lose func(ctx context.Context, seq int64) error
	// OneWriter says that a transaction that wrote keeps others from writing
	// until it ends.
	OneWriter bool
}

// Migrator is a store that makes its tables.
type Migrator interface {
	outbox.Store
	Migrate(ctx context.Context) error
}

// Tx is a transaction of a service.
type Tx interface {
	// Sender writes events in the transaction.
	Sender() ticketing.Sender
	// Lock locks an aggregate until the transaction ends, as an update of its
	// row does.
	Lock(ctx context.Context, key string) error
	Commit() error
	Rollback() error
}

// Run runs the suite. open is called for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	groups := []struct {
		name  string
		tests []test
	}{
		{"Tables", tablesTests},
		{"Transaction", transactionTests},
		{"Lease", leaseTests},
		{"Queue", queueTests},
		{"Parked", parkedTests},
		{"Requeue", requeueTests},
		{"Relay", relayTests},
		{"Faults", faultTests},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, tt := range g.tests {
				t.Run(tt.name, func(t *testing.T) {
					h := open(t)
					if tt.manyWriters && h.OneWriter {
						t.Skip("the database has one writer at a time")
					}
					if tt.loses && h.Lose == nil {
						t.Skip("the harness cannot lose commits")
					}
					tt.run(&suite{T: t, Harness: h})
				})
			}
		})
	}
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}

type test struct {
	name        string
	run         func(s *suite)
	manyWriters bool // it needs two transactions that write at the same time
	loses       bool // it needs Harness.Lose
}

// suite is one test with its outbox.
type suite struct {
	*testing.T
	Harness
}
