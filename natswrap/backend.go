package natswrap

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// backend is what a [Client] needs of the adapter behind it.
type backend interface {
	ticketing.Sender
	ticketing.Receiver
	ticketing.SubjectChecker
	ticketing.CapabilityReporter

	// Close ends the intake, waits for handlers, publishes and acks, and
	// closes, within ctx. It may be called several times, from anywhere.
	Close(ctx context.Context) error
	// Closed is closed when the connection is closed for good.
	Closed() <-chan struct{}
	// Err is why the connection is closed for good; nil before, and after
	// Close.
	Err() error
	// Healthy answers without the network.
	Healthy() bool
	Conn() *nats.Conn
}

// What only one of the backends has.
type (
	hasJetStream interface{ JetStream() jetstream.JetStream }
	hasStan      interface{ Stan() stan.Conn }
	hasStream    interface{ DeadLetters() deadletter.Store }
	hasChannels  interface {
		DeadLetters(subjects []ticketing.Subject) deadletter.Store
	}
)

var (
	_ backend      = (*jswrap.Client)(nil)
	_ hasJetStream = (*jswrap.Client)(nil)
	_ backend      = (*stanwrap.Client)(nil)
	_ hasStream    = (*jswrap.Client)(nil)
	_ hasStan      = (*stanwrap.Client)(nil)
	_ hasChannels  = (*stanwrap.Client)(nil)
)

// connector connects to a broker. A failed connect must not return a typed
// nil.
type connector func(context.Context, Config) (backend, error)

// connectBackend is the connector of real brokers.
func connectBackend(ctx context.Context, c Config) (backend, error) {
	if c.backend() == Stan {
		b, err := stanwrap.Connect(ctx, c.stan())
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	b, err := jswrap.Connect(ctx, c.jetStream())
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c Config) jetStream() jswrap.Config {
	return jswrap.Config{
		URLs:       c.URLs,
		Name:       mapID(c.ClientID),
		CredsFile:  c.CredsFile,
		NKeyFile:   c.NKeyFile,
		TLSCA:      c.TLSCA,
		TLSCert:    c.TLSCert,
		TLSKey:     c.TLSKey,
		Stream:     c.Stream,
		Subjects:   c.Subjects,
		Replicas:   c.Replicas,
		MaxAge:     c.MaxAge,
		MaxBytes:   c.MaxBytes,
		VerifyOnly: c.VerifyOnly,
		AckTimeout: c.AckTimeout,
		MaxPending: c.MaxPending,

		CloudEvents: c.Envelope == CloudEvents,
		Source:      c.Source,

		ConnectOnly:       c.ConnectOnly,
		WaitForConnection: c.WaitForConnection,
		Logger:            c.logger(),
	}
}

func (c Config) stan() stanwrap.Config {
	return stanwrap.Config{
		URLs:       c.URLs,
		ClusterID:  c.ClusterID,
		ClientID:   mapID(c.ClientID),
		CredsFile:  c.CredsFile,
		NKeyFile:   c.NKeyFile,
		TLSCA:      c.TLSCA,
		TLSCert:    c.TLSCert,
		TLSKey:     c.TLSKey,
		AckTimeout: c.AckTimeout,
		MaxPending: c.MaxPending,

		CloudEvents: c.Envelope == CloudEvents,
		Source:      c.Source,

		WaitForConnection: c.WaitForConnection,
		Logger:            c.logger(),
	}
}
