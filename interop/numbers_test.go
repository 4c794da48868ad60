package interop_test

import (
	"strconv"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

func TestGoWritesNumbersAndTimesWithTheDigitsOfNode(t *testing.T) {
	const n = 2000
	payloads := start(t, "", "numbers.js", strconv.Itoa(n)).end(t)
	if len(payloads) != n {
		t.Fatalf("Node wrote %d payloads, want %d", len(payloads), n)
	}
	for _, payload := range payloads {
		var e events.OrderCreated
		if err := ticketing.JSON.Unmarshal([]byte(payload), &e); err != nil {
			t.Errorf("Node wrote %s: %v", payload, err)
			continue
		}
		data, err := ticketing.JSON.Marshal(e)
		if err != nil || string(data) != payload {
			t.Errorf("Node wrote %s\nGo writes   %s (error %v)", payload, data, err)
		}
	}
}
