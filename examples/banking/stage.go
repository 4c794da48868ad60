package main

import (
	"context"
	"errors"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/accounts"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// stage is where the story is told in one way: a broker, and two services with
// a database each.
type stage struct {
	options
	way  way
	name string // of its databases and files
	dir  string
	dbs  *databases

	broker       *broker
	client       *natswrap.Client // the transaction service's
	transactions *transactions.Service
	accounts     *process.Process
	acks         *acks             // from its output
	balances     *accounts.Service // to ask for a balance: it does not run

	told []answer
}

// closing bounds the end of the transaction service's connection.
const closing = 5 * time.Second

// tell sets the stage, has the story played, and returns what is in the
// databases then.
func (s *stage) tell(ctx context.Context) (o outcome, err error) {
	log := logger(s.verbose, s.stderr)

	if s.broker, err = startBroker(s.options, s.dir); err != nil {
		return o, err
	}
	defer s.broker.Kill()

	db, err := s.dbs.create(ctx, s.name+"_transactions")
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	outbox, err := db.outbox()
	if err != nil {
		return o, err
	}
	if s.client, err = natswrap.Connect(ctx, s.broker.config("transactions", log)); err != nil {
		return o, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		err = errors.Join(err, s.client.Close(ctx))
	}()
	if s.transactions, err = transactions.New(ctx, db.DB, outbox, s.client, log); err != nil {
		return o, err
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- s.transactions.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-ran) }()

	accountsDB, err := s.dbs.create(ctx, s.name+"_accounts")
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, accountsDB.Close()) }()
	if s.balances, err = newAccounts(ctx, accountsDB, log); err != nil {
		return o, err
	}
	s.accounts, s.acks, err = startAccounts(s.stderr, accountsConfig{s.broker.address, accountsDB.url, s.verbose, s.way.killed})
	if err != nil {
		return o, err
	}
	defer s.accounts.Kill()

	if err := s.play(ctx); err != nil {
		return o, err
	}
	o = outcome{way: s.way.name, told: s.told}
	if o.booked, err = s.transactions.Booked(ctx); err != nil {
		return o, err
	}
	o.balance, err = s.balances.Balance(ctx, account)
	return o, err
}
