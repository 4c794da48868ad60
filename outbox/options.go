package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Defaults of [RelayOptions].
const (
	DefaultWindow     = 1024
	DefaultMaxRows    = 4096
	DefaultMaxBytes   = 8 << 20
	DefaultLease      = 10 * time.Second
	DefaultMinPoll    = 5 * time.Millisecond
	DefaultMaxPoll    = 250 * time.Millisecond
	DefaultBackoff    = 100 * time.Millisecond
	DefaultMaxBackoff = 5 * time.Second
)

// DefaultDrainTimeout bounds how long [Relay.Run] goes on after its ctx ended.
const DefaultDrainTimeout = 10 * time.Second

// RelayOptions configures a [Relay]. Nil and the zero value are good.
type RelayOptions struct {
	// Name is what the lease shows as its holder, followed by something
	// random. Default: the host's name and the process's id.
	Name string
	// Window is the most events in flight at the broker. Default 1024.
	Window int
	// MaxRows and MaxBytes bound what is held in memory: rows that wait, are
	// in flight, or are to be noted down, and their payloads. One event is
	// always admitted. Defaults 4096 and 8 MiB.
	MaxRows  int
	MaxBytes int
	// Lease is how long a relay that died keeps others waiting. Default 10 s.
	Lease time.Duration
	// MinPoll and MaxPoll bound the pause between two looks at the table. It
	// is a twentieth of the time since something was last found: an event
	// that comes t after the one before it waits at most t/20. Defaults 5 ms
	// and 250 ms.
	MinPoll, MaxPoll time.Duration
	// Keep is how long sent rows stay. Default: they are deleted at once. A
	// broker that acknowledged a write before it synced it can still lose it:
	// whoever keeps the rows can replay them.
	Keep time.Duration
	// Backoff is the first pause after the broker did not take an event. It
	// doubles with every failure up to MaxBackoff. Defaults 100 ms and 5 s.
	Backoff, MaxBackoff time.Duration
	// DrainTimeout bounds the wait for outcomes after Run's ctx ended.
	// Default 10 s.
	DrainTimeout time.Duration
	// Listen, if set, runs while the relay has the lease, and calls wake
	// whenever there may be something new: see postgres.Listen. It returns
	// when ctx ends, or with an error, after which it is called again.
	// Polling stays on.
	Listen func(ctx context.Context, wake func()) error
	// Logger says what goes wrong. Default [slog.Default].
	Logger *slog.Logger
}

func (o *RelayOptions) withDefaults() RelayOptions {
	var r RelayOptions
	if o != nil {
		r = *o
	}
	if r.Name == "" {
		host, _ := os.Hostname()
		r.Name = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	orDefault(&r.Window, DefaultWindow)
	orDefault(&r.MaxRows, DefaultMaxRows)
	orDefault(&r.MaxBytes, DefaultMaxBytes)
	orDefault(&r.Lease, DefaultLease)
	orDefault(&r.MinPoll, DefaultMinPoll)
	orDefault(&r.MaxPoll, max(DefaultMaxPoll, r.MinPoll))
	orDefault(&r.Backoff, DefaultBackoff)
	orDefault(&r.MaxBackoff, max(DefaultMaxBackoff, r.Backoff))
	orDefault(&r.DrainTimeout, DefaultDrainTimeout)
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	return r
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
