package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/accounts"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// The accounts service is a child process, so that it can be killed.
const (
	accountsRole = "accounts"
	accountsVar  = "BANKING_ACCOUNTS" // accountsConfig, as JSON
)

type accountsConfig struct {
	Broker   address
	Database string
	Verbose  bool
	Hangs    bool // see witness; until it is restarted
}

// runAccounts is the child.
func runAccounts(ctx context.Context) error {
	var c accountsConfig
	if err := json.Unmarshal([]byte(os.Getenv(accountsVar)), &c); err != nil {
		return fmt.Errorf("%s: %w", accountsVar, err)
	}
	log := logger(c.Verbose, os.Stderr)
	db, err := openDatabase(c.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := newAccounts(ctx, db, log)
	if err != nil {
		return err
	}
	return natswrap.Run(ctx, c.Broker.config("accounts", log), func(ctx context.Context, client *natswrap.Client) error {
		process.Ready(ctx, "")
		return service.Listener(&witness{client, c.Hangs && process.Restarts(ctx) == 0}).Listen(ctx)
	})
}

func newAccounts(ctx context.Context, db *database, log *slog.Logger) (*accounts.Service, error) {
	store, err := db.inbox()
	if err != nil {
		return nil, err
	}
	return accounts.New(ctx, db.DB, store, log)
}

// witness is the broker as the accounts service sees it. It prints what is
// acknowledged, for the story to know when all is. If it hangs, the first
// event is the only one that is acknowledged: the next settlement does not
// return, and the process can be killed between its commit and its
// acknowledgement.
type witness struct {
	*natswrap.Client
	hangs bool
}

// Receive implements [ticketing.Receiver].
func (w *witness) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	return w.Client.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		watched := &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: in.Attempt, Failures: in.Failures}
		watched.Bind(settler{w, in})
		handle(ctx, watched)
	})
}

type settler struct {
	w  *witness
	in *ticketing.Inbound // the broker's own
}

// SettleInbound implements [ticketing.Settler].
func (s settler) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	if s.w.hangs && s.in.Sequence > 1 {
		select {} // until it is killed
	}
	err := s.in.Settle(v)
	if err == nil && v.Kind == ticketing.Ack {
		var d bank.DepositReceived
		_ = json.Unmarshal(s.in.Data, &d) // the handler has read it
		fmt.Printf(acknowledged, s.in.Sequence, d.ID)
	}
	return err
}

// acknowledged is the line that the child prints and the parent reads.
const acknowledged = "acknowledged %d %s\n"

// acks is what the accounts service has acknowledged, read from its output.
type acks struct {
	other io.Writer // gets the lines that say something else

	mu    sync.Mutex
	byID  map[string]uint64
	bySeq map[uint64]bool
}

// Write gets whole lines.
func (a *acks) Write(b []byte) (int, error) {
	_, line, _ := strings.Cut(string(b), ": ") // the child's name
	var seq uint64
	var id string
	if _, err := fmt.Sscanf(line, acknowledged, &seq, &id); err != nil {
		return a.other.Write(b)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byID[id], a.bySeq[seq] = seq, true
	return len(b), nil
}

// upTo reports whether the deposit's event is acknowledged, and all that are
// stored before it.
func (a *acks) upTo(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.byID[id]
	for seq := uint64(1); ok && seq < last; seq++ {
		ok = a.bySeq[seq]
	}
	return ok
}

// startAccounts starts the accounts service. What it prints besides its
// acknowledgements goes to other.
func startAccounts(other io.Writer, c accountsConfig) (*process.Process, *acks, error) {
	config, err := json.Marshal(c)
	if err != nil {
		return nil, nil, err
	}
	a := &acks{other: other, byID: map[string]uint64{}, bySeq: map[uint64]bool{}}
	p, err := process.Start(accountsRole, process.Env(accountsVar+"="+string(config)), process.Output(a))
	return p, a, err
}
