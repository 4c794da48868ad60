package natsserver

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestAClusterWhoseCandidateIsNotElectedBeginsAnew(t *testing.T) {
	t.Parallel()
	// At the first start the candidate follows as well, so that nobody stands
	// for election within 4 s.
	var once sync.Once
	starts := 0
	c := RunCluster(t, 3,
		func(c *config) { c.candidate = 500 * time.Millisecond },
		Configure(func(o *server.Options) {
			if o.ServerName != "n1" {
				return
			}
			starts++
			once.Do(func() {
				if err := follow(o.StoreDir, 3); err != nil {
					t.Error(err)
				}
			})
		}))
	if starts != 2 {
		t.Errorf("%d starts, want 2", starts)
	}
	if got := len(c.Leader().NATS().JetStreamClusterPeers()); got != 3 {
		t.Errorf("the leader knows %d servers, want 3", got)
	}
}
