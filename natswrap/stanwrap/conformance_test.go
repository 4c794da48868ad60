package stanwrap_test

import (
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats-streaming-server/stores"
	"github.com/nats-io/nuid"

	"github.com/ducnguyen96/ticketing-common/natstest/brokertest"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestTheBrokerContractHolds(t *testing.T) {
	for _, store := range []string{"memory", "file"} {
		t.Run(store, func(t *testing.T) {
			s := runServer(t, func(o *server.Options, _ *natsd.Options) {
				if store == "file" {
					o.StoreType = stores.TypeFile
					o.FilestoreDir = t.TempDir()
				}
			})
			brokertest.Run(t, brokertest.Harness{
				Connect: func(t testing.TB) brokertest.Conn {
					c, err := stanwrap.Connect(t.Context(), stanwrap.Config{
						URLs: []string{s.URL()}, ClusterID: clusterID, ClientID: "client-" + nuid.Next(),
					})
					if err != nil {
						t.Fatal(err)
					}
					return c
				},
				Crash:      func(c brokertest.Conn) { c.(*stanwrap.Client).Conn().Close() },
				MaxPayload: natsd.MAX_PAYLOAD_SIZE,
			})
		})
	}
}
