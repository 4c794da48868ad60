package ticketing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// otherDecoder encodes as JSON does, and decodes with another library.
type otherDecoder struct {
	ticketing.Codec
	unmarshal func(data []byte, v any) error
}

var errNoEvent = errors.New("the payload is not the JSON of the event")

func (c otherDecoder) Unmarshal(data []byte, v any) error {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return errNoEvent // most libraries leave v as it is and call that a success
	}
	if err := c.unmarshal(data, v); err != nil {
		return errNoEvent // err may quote the payload, and what is returned is logged
	}
	return nil
}

// A quicker decoder is a Codec around [JSON], which goes on to encode.
func ExampleCodec() {
	codec := otherDecoder{ticketing.JSON, json.Unmarshal} // in a service: Unmarshal of the other library

	var broker natstest.Recorder
	deposits := ticketing.NewListener(&broker, "accounts", func(_ context.Context, d *ticketing.Delivery[DepositReceived]) error {
		fmt.Println("credit", d.Event.Amount)
		return nil
	}, &ticketing.ListenerOptions{Codec: codec})
	stop := run(deposits)
	natstest.Deliver(t, &broker, DepositReceived{ID: "d-1", Amount: 500})
	stop()

	fmt.Println(codec.Unmarshal([]byte(`{"id":"d-1","amount":1e99}`), new(DepositReceived)))
	// Output:
	// credit 500
	// the payload is not the JSON of the event
}
