package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// bothKinds are the cluster ids that choose the broker.
var bothKinds = map[string]string{"JetStream": "", "NATS Streaming": stanserver.DefaultClusterID}

// Without the AfterFunc in natsconn.Dial, which cuts the connection when ctx
// ends, Connect waits for the client's own timeout.
func TestConnectEndsWithItsContextWhereTheNetworkIsSilent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		for name, fault := range map[string]func(*netfault.Proxy){
			"accepted and nothing said":  (*netfault.Proxy).Mute,
			"nothing reaches the server": func(p *netfault.Proxy) { p.BlackHole(netfault.ToServer) },
			"nothing comes back":         func(p *netfault.Proxy) { p.BlackHole(netfault.ToClient) },
		} {
			t.Run(name, func(t *testing.T) {
				p := netfault.Run(t, b.url)
				fault(p)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				begin := time.Now()
				_, err := natswrap.Connect(ctx, b.config(p.URL()))
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Connect = %v, want the context's error", err)
				}
				if d := time.Since(begin); d > 1500*time.Millisecond {
					t.Errorf("it took %v", d)
				}
			})
		}
	})
}

// Without explainConnect in stanwrap the error does not name the cluster id.
// Without noAPI in jswrap's patiently Connect waits for half a minute.
func TestConnectToAPlainNATSServerSaysAtOnceWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) { o.JetStream = false }))
	for name, cluster := range bothKinds {
		t.Run(name, func(t *testing.T) {
			b := &broker{url: s.URL(), cluster: cluster}
			begin := time.Now()
			_, err := natswrap.Connect(t.Context(), b.config(s.URL()))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Connect = %v, want an error that names %s", err, name)
			}
			if cluster != "" && !strings.Contains(err.Error(), `"`+cluster+`"`) {
				t.Errorf("error %q does not name the cluster id", err)
			}
			if d := time.Since(begin); d > 2*time.Second {
				t.Errorf("it took %v although NATS knows at once that nobody listens", d)
			}
		})
	}
}

// It is the server that protects the first session: it asks it for a sign of
// life. Without errClientIDInUse in stanwrap's explainConnect the second is not
// told which field is wrong.
func TestASecondClientWithTheSameIDIsRefusedAndTheFirstGoesOn(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	cfg := (&broker{cluster: s.ClusterID()}).config(s.URL())
	first := connect(t, cfg)
	in := listen(t, first, "g", ticketing.ListenerOptions{})
	session, _ := first.Stan()

	result := make(chan error, 1)
	go func() {
		_, err := natswrap.Connect(t.Context(), cfg)
		result <- err
	}()
	for i := 0; ; i++ {
		id := fmt.Sprint(i)
		publish(t, first, id, "")
		in.want(id)
		select {
		case err := <-result:
			if err == nil || !strings.Contains(err.Error(), `"tickets-0"`) || !strings.Contains(err.Error(), "ClientID") {
				t.Errorf("the second Connect = %v, want an error that names the id and its field", err)
			}
			if now, _ := first.Stan(); now != session || !first.Healthy() {
				t.Error("the first client lost its session")
			}
			publish(t, first, "after", "")
			in.want("after")
			return
		default:
		}
	}
}

// The server asks the first client for a sign of life and takes half a second to
// give it up: with a requestTimeout in stanwrap of less than that nobody gets
// the id of a process that hangs. What the first held comes to the second
// because it is acknowledged only after its handler.
func TestTheClientIDOfAKilledProcessIsFreeWithinSeconds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *process.Process){
		"killed": func(_ *testing.T, p *process.Process) { p.Kill() },
		// To the server it is the same as a machine that is gone: its
		// connection stays.
		"hangs": func(t *testing.T, p *process.Process) {
			if err := p.Suspend(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *broker) {
				p := runService(t, b)
				first := connect(t, withID(b.config(b.url), "publisher"))
				publish(t, first, "held", "stuck")
				p.wantLine(t, "started held")

				end(t, p.Process)
				begin := time.Now()
				c := connect(t, withID(b.config(b.url), serviceID))
				if d := time.Since(begin); d > 5*time.Second {
					t.Errorf("the id was free after %v, want 5 s at most", d)
				}
				in := listen(t, c, serviceGroup, ticketing.ListenerOptions{AckWait: time.Second})
				in.want("held")
			})
		})
	}
}

func withID(c natswrap.Config, id string) natswrap.Config {
	c.ClientID = id
	return c
}

// Without RetryOnFailedConnect(false) in natsconn.Dial, Connect would try for
// ever. Without the refusals that stanwrap's register counts, the client on
// NATS Streaming would go on for ever once the password has changed; without
// ReconnectWait in natsconn.Dial both would do so without a pause.
func TestWrongCredentialsAreReportedAndNotTriedForEver(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(o *natsd.Options, secret string)
		user   string
	}{
		"password": {func(o *natsd.Options, secret string) { o.Username, o.Password = "user", secret }, "user:"},
		"token":    {func(o *natsd.Options, secret string) { o.Authorization = secret }, ""},
	} {
		with := func(secret string) func(*natsd.Options) {
			return func(o *natsd.Options) { tc.change(o, secret) }
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothWith(t, with("sesame"), func(t *testing.T, b *broker) {
				p := netfault.Run(t, b.url)
				as := func(secret string) natswrap.Config {
					return b.config(strings.Replace(p.URL(), "://", "://"+tc.user+secret+"@", 1))
				}
				_, err := natswrap.Connect(t.Context(), as("wrong"))
				if !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("Connect = %v, want nats.ErrAuthorization", err)
				}
				if n := p.Accepted(); n != 1 {
					t.Errorf("Connect made %d connections, want 1", n)
				}

				c := connect(t, as("sesame"))
				in := listen(t, c, "g", ticketing.ListenerOptions{})
				publish(t, c, "1", "")
				in.want("1")
				before, begin := p.Accepted(), time.Now()
				b.options = with("changed")
				if err := b.restart(); err != nil {
					t.Fatal(err)
				}
				await(t, "the end of the client", c.Closed())
				if !errors.Is(c.Err(), nats.ErrAuthorization) {
					t.Errorf("Err = %v, want nats.ErrAuthorization", c.Err())
				}
				if err := await(t, "Listen", in.ended); !errors.Is(err, ticketing.ErrClosed) {
					t.Errorf("Listen = %v, want ErrClosed", err)
				}
				wantNoHotLoop(t, p.Accepted()-before, time.Since(begin))
			})
		})
	}
}

// wantNoHotLoop checks how often a client came back: at once after each loss,
// and then with pauses of a quarter of a second or more.
func wantNoHotLoop(t *testing.T, connections int, d time.Duration) {
	t.Helper()
	if most := 5 + int(d/(200*time.Millisecond)); connections > most {
		t.Errorf("%d connections in %v, want %d at most", connections, d, most)
	}
}

// The client itself protects: it takes up TLS where the server asks for it, and
// refuses a server without TLS where it was told to have it. Without TLSCA in
// natsconn's options "not offered" would connect in the clear; without
// ReconnectWait there the second half is a hot loop.
func TestATLSMismatchIsReportedAndDoesNotMakeAHotLoop(t *testing.T) {
	t.Parallel()
	cert, file := certificate(t)
	plain := natsserver.Run(t)
	secure := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		o.TLSTimeout = patience.Seconds()
	}))
	unknown := new(x509.UnknownAuthorityError)
	for kind, cluster := range bothKinds {
		for name, tc := range map[string]struct {
			server string
			ca     string
			isErr  func(error) bool
		}{
			"not offered":       {plain.URL(), file, func(err error) bool { return errors.Is(err, nats.ErrSecureConnWanted) }},
			"unknown authority": {secure.URL(), "", func(err error) bool { return errors.As(err, unknown) }},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				p := netfault.Run(t, tc.server)
				cfg := (&broker{cluster: cluster}).config(p.URL())
				cfg.TLSCA = tc.ca
				if _, err := natswrap.Connect(t.Context(), cfg); !tc.isErr(err) {
					t.Errorf("Connect = %v", err)
				}
				if n := p.Accepted(); n != 1 {
					t.Errorf("Connect made %d connections, want 1", n)
				}
			})
		}
	}

	onBoth(t, func(t *testing.T, b *broker) {
		p := netfault.Run(t, b.url)
		c := connect(t, b.config(p.URL()))
		// Another server takes the place: one with a certificate that nobody
		// knows.
		if err := p.SetTarget(secure.URL()); err != nil {
			t.Fatal(err)
		}
		before, begin := p.Accepted(), time.Now()
		p.Break()
		until(t, "it tried several times", func() bool { return p.Accepted() >= before+4 })
		wantNoHotLoop(t, p.Accepted()-before, time.Since(begin))
		if d := time.Since(begin); d < 500*time.Millisecond {
			t.Errorf("four connections within %v", d)
		}
		if c.Healthy() {
			t.Error("it is healthy without a connection")
		}
		if err := p.SetTarget(b.url); err != nil {
			t.Fatal(err)
		}
		until(t, "it is healthy again", c.Healthy)
		publish(t, c, "1", "")
	})
}

// Without the registration in stanwrap.Connect, or the streams that jswrap's
// provision makes sure of, Connect would return once NATS is there, and the
// first publish fail.
func TestAServiceIsNotReadyBeforeItsBrokerIs(t *testing.T) {
	t.Parallel()
	bare := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) { o.JetStream = false }))
	onBoth(t, func(t *testing.T, b *broker) {
		p := netfault.Run(t, bare.URL())
		p.Cut() // there is nothing yet
		var w natswrap.Wrapper
		attempts := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // what restarts a service that does not start
			defer close(done)
			for ctx.Err() == nil {
				err := w.Connect(ctx, b.config(p.URL()))
				select {
				case attempts <- err:
				case <-ctx.Done():
				}
			}
		}()
		defer func() {
			cancel()
			<-done
		}()
		notReady := func(stage string) {
			t.Helper()
			for range 3 {
				if err := await(t, "an attempt", attempts); err == nil || w.Healthy() {
					t.Fatalf("%s: Connect = %v, healthy: %t", stage, err, w.Healthy())
				}
			}
		}
		notReady("no server")
		p.Heal()
		notReady("a NATS server without the broker")
		if err := p.SetTarget(b.url); err != nil {
			t.Fatal(err)
		}
		for await(t, "an attempt", attempts) != nil {
		}
		cancel()
		if !w.Healthy() {
			t.Error("it is not healthy")
		}
		publish(t, &w, "1", "")
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// certificate makes one that no authority has signed.
func certificate(t *testing.T) (cert tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
