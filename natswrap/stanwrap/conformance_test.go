package stanwrap_test

import (
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nuid"
	"github.com/nats-io/stan.go"

	"github.com/ducnguyen96/ticketing-common/natstest/brokertest"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestTheBrokerContractHoldsWithTheMemoryStore(t *testing.T) {
	testContract(t, stanserver.Run(t), false)
}

func TestTheBrokerContractHoldsWithEnvelopes(t *testing.T) {
	testContract(t, stanserver.Run(t), true)
}

func TestTheBrokerContractHoldsWithTheFileStore(t *testing.T) {
	testContract(t, stanserver.Run(t, stanserver.FileStore()), false)
}

func testContract(t *testing.T, s *stanserver.Server, envelopes bool) {
	makeChannels(t, s)
	brokertest.Run(t, brokertest.Harness{
		Connect: func(t testing.TB) brokertest.Conn {
			c, err := stanwrap.Connect(t.Context(), stanwrap.Config{
				URLs:      []string{s.URL()},
				ClusterID: s.ClusterID(),
				ClientID:  "client-" + nuid.Next(),
				Logger:    quiet,

				CloudEvents: envelopes,
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Crash:      func(c brokertest.Conn) { c.(*stanwrap.Client).Conn().Close() },
		MaxPayload: natsd.MAX_PAYLOAD_SIZE,
	})
}

// makeChannels makes the suite's channels beforehand: the file store has a
// goroutine for each, which is no leak of the test that makes the channel.
func makeChannels(t *testing.T, s *stanserver.Server) {
	sc := connectRaw(t, s, "channels")
	for _, subject := range brokertest.Subjects() {
		sub, err := sc.Subscribe(string(subject), func(*stan.Msg) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
