// Package natsconn makes the NATS connection that the adapters stand on: it
// parses the URLs so that no password reaches an error, dials within a
// context, and keeps the connection's state where nobody has to ask the
// client for it.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Config says where and as whom to connect.
type Config struct {
	// URLs are the servers, as given; [ParseURLs] is applied to each.
	URLs []string
	// Name is shown by the server's monitoring.
	Name string
	// CredsFile has a user JWT with its seed, NKeyFile a seed. They exclude
	// each other.
	CredsFile, NKeyFile string
	// TLSCA, TLSCert and TLSKey are PEM files. Any of them forces TLS. They
	// are read again at every reconnect, so that a renewed certificate is
	// taken up.
	TLSCA, TLSCert, TLSKey string
	// Logger hears of failed attempts to reconnect, at debug level. Default
	// [slog.Default].
	Logger *slog.Logger
}

// How a lost connection is made again, for ever: at once, and after every
// round through the servers with a pause, which has jitter so that the clients
// of a restarted server do not all come at the same time.
const (
	// A server that is back is found within half a second.
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	// pingInterval and maxPings: a peer that has gone without a word is found
	// within a minute.
	pingInterval = 20 * time.Second
	maxPings     = 2
)

// Dial connects to one of c.URLs, within ctx also where a server accepts the
// connection and then says nothing. opts come after those of c.
//
// While the connection is lost nothing is buffered: a publish fails at once.
// The connection is never given up, unless the server refuses its credentials
// twice. Close it with [State.Close].
//
// No error has credentials in it.
func Dial(ctx context.Context, c Config, opts ...nats.Option) (*nats.Conn, error) {
	urls, err := ParseURLs(strings.Join(c.URLs, ","))
	if err != nil {
		return nil, fmt.Errorf("NATS URL: %w", err)
	}
	hidden := secrets(urls)
	fail := func(err error) error {
		return fmt.Errorf("connect to NATS at %s: %w", hosts(urls), redactError(err, hidden))
	}
	if ctx.Err() != nil {
		return nil, fail(context.Cause(ctx))
	}
	o, err := c.options(urls)
	if err != nil {
		return nil, fail(err)
	}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, fail(err)
		}
	}
	d := newDialer(o.Timeout)
	o.CustomDialer = d

	stop := context.AfterFunc(ctx, d.interrupt)
	nc, err := o.Connect()
	if err != nil {
		err = d.explain(*o, err)
	}
	if !stop() { // ctx has ended, and the connection is cut or about to be
		d.interrupt()
		if nc != nil {
			nc.Close()
		}
		return nil, fail(context.Cause(ctx))
	}
	if err != nil {
		d.interrupt()
		return nil, fail(err)
	}
	d.connected()
	return nc, nil
}

// options turns c into the client's.
func (c Config) options(urls []string) (*nats.Options, error) {
	if c.CredsFile != "" && c.NKeyFile != "" {
		return nil, errors.New("a credentials file and an nkey file exclude each other")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, errors.New("a TLS certificate and its key go together, and one of the files is not named")
	}
	log := c.Logger
	if log == nil {
		log = slog.Default()
	}
	hidden := secrets(urls)
	o := nats.GetDefaultOptions()
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.RetryOnFailedConnect(false),
		// Our dialer resolves names itself, within its context.
		nats.SkipHostLookup(),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Debug("NATS reconnect failed", "error", redactError(err, hidden))
		}),
	}
	if c.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		opt, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, opt)
	}
	if c.TLSCA != "" {
		opts = append(opts, nats.RootCAs(c.TLSCA))
	}
	if c.TLSCert != "" {
		opts = append(opts, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	o.Servers = urls
	return &o, nil
}

// hosts names the servers without their credentials.
func hosts(urls []string) string {
	names := make([]string, len(urls))
	for i, s := range urls {
		names[i] = host(s)
	}
	return strings.Join(names, ", ")
}

// host is the host and port of a URL that was parsed before.
func host(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}
