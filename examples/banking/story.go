package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
)

// way is one way to take a deposit.
type way struct {
	name, how string
	deposit   func(*transactions.Service, context.Context, transactions.Deposit) error
	killed    bool // the accounts service is, too
}

var ways = []way{
	{
		name:    "not awaited",
		how:     "the row, then PublishAsync, whose result nobody looks at",
		deposit: (*transactions.Service).DepositNotAwaited,
	},
	{
		name:    "awaited",
		how:     "the row, then Publish, whose error the user gets",
		deposit: (*transactions.Service).DepositAwaited,
	},
	{
		name:    "outbox and inbox",
		how:     "the row and the event in one transaction, and a relay",
		deposit: (*transactions.Service).Deposit,
		killed:  true,
	},
}

// account is the one that all deposits are for.
const account = "alice"

// The deposits, of amounts that show in a sum.
var (
	before = transactions.Deposit{ID: "D-1", Account: account, Amount: 100}
	during = []transactions.Deposit{
		{ID: "D-2", Account: account, Amount: 20},
		{ID: "D-3", Account: account, Amount: 3},
	}
	after = transactions.Deposit{ID: "D-4", Account: account, Amount: 1000}
)

// play tells the story in the stage's way, up to the moment when nothing more
// is to come.
func (s *stage) play(ctx context.Context) error {
	s.deposit(ctx, before)
	if err := until(ctx, "the first deposit is credited", s.acknowledged(before)); err != nil {
		return err
	}

	s.broker.Kill()
	s.say("the broker is killed")
	if err := until(ctx, "the broker is missed", func() (bool, error) { return !s.client.Healthy(), nil }); err != nil {
		return err
	}
	for _, d := range during {
		s.deposit(ctx, d)
	}
	if err := s.broker.Restart(); err != nil {
		return err
	}
	if err := until(ctx, "the broker is found again", func() (bool, error) { return s.client.Healthy(), nil }); err != nil {
		return err
	}
	s.say("the broker is back")
	s.deposit(ctx, after)

	if s.way.killed {
		if err := s.killAccounts(ctx); err != nil {
			return err
		}
	}
	// The events of one account are stored in order: the last has all others
	// before it.
	return until(ctx, "all events are acknowledged", s.acknowledged(after))
}

// killAccounts kills the accounts service when it has credited one more
// deposit, whose acknowledgement the witness holds back.
func (s *stage) killAccounts(ctx context.Context) error {
	if err := until(ctx, "another deposit is credited", func() (bool, error) {
		balance, err := s.balances.Balance(ctx, account)
		return balance > before.Amount, err
	}); err != nil {
		return err
	}
	s.accounts.Kill()
	s.say("the accounts service is killed between its commit and its acknowledgement")
	if err := s.accounts.Restart(); err != nil {
		return err
	}
	s.say("the accounts service is back, and that deposit comes again")
	return nil
}

func (s *stage) acknowledged(d transactions.Deposit) func() (bool, error) {
	return func() (bool, error) { return s.acks.upTo(d.ID), nil }
}

// deposit is what a user does, and is told.
func (s *stage) deposit(ctx context.Context, d transactions.Deposit) {
	a := answer{d, s.way.deposit(s.transactions, ctx, d)}
	s.told = append(s.told, a)
	fmt.Fprintf(s.stdout, "%6d  the user is told %s\n", d.Amount, a)
}

func (s *stage) say(what string) { fmt.Fprintf(s.stdout, "        %s\n", what) }

// patience is more than anything here takes.
const patience = 30 * time.Second

// until waits for a condition.
func until(ctx context.Context, what string, is func() (bool, error)) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("waited %v in vain: %s", patience, what)
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}
