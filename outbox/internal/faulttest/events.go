package faulttest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Store is an outbox that a service uses through database/sql.
type Store interface {
	outbox.Store
	InTx(ctx context.Context, fn func(tx *sql.Tx) error) error
	Tx(tx interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}) ticketing.Sender
}

// Message is an event for a test.
func Message(id, key string) *ticketing.Message {
	return &ticketing.Message{ID: id, Key: key, Subject: subject, Time: time.Now(), Data: []byte("{}")}
}

// Send calls a synchronous sender.
func Send(ctx context.Context, s ticketing.Sender, m *ticketing.Message) (err error) {
	s.Send(ctx, m, func(e error) { err = e })
	return err
}

// Add commits events in one transaction.
func Add(ctx context.Context, s Store, messages ...*ticketing.Message) error {
	return outbox.InTx(ctx, s, func(tx *sql.Tx) error {
		for _, m := range messages {
			if err := Send(ctx, s.Tx(tx), m); err != nil {
				return err
			}
		}
		return nil
	})
}

// Eventually waits until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not within a minute: " + what)
		}
	}
}
