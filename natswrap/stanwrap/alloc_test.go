package stanwrap

import (
	"context"
	"testing"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/race"
)

func TestAPlainPublishAllocatesNoMoreThanItsPlaceInTheWindow(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	c := fakeClient(t, Config{}, func(_ string, ah stan.AckHandler) (string, error) {
		ah("", nil)
		return "", nil
	})
	m := &ticketing.Message{ID: "1", Subject: "ticket:created", Data: []byte(`{"id":"1"}`)}
	outcome := make(chan error)
	done := func(err error) { outcome <- err }
	n := testing.AllocsPerRun(1000, func() {
		c.Send(context.Background(), m, done)
		<-outcome
	})
	if n > 2 { // the request, and its completion for stan.go
		t.Errorf("%v allocations", n)
	}
}
