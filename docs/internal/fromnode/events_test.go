package fromnode

import (
	"context"
	"fmt"
	"log"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// region subject

const SubjectRefundIssued ticketing.Subject = "refund:issued"

// endregion

// region event

type RefundIssued struct {
	ID      string  `json:"id"`
	OrderID string  `json:"orderId"`
	Amount  float64 `json:"amount"`
	Reason  string  `json:"reason,omitempty"`
}

func (RefundIssued) Subject() ticketing.Subject { return SubjectRefundIssued }
func (e RefundIssued) Key() string              { return e.OrderID }

// endregion

func ExamplePublisher() {
	client, ctx := new(natstest.Recorder), context.Background()
	// region publisher
	refunds := ticketing.NewPublisher[RefundIssued](client, nil)
	err := refunds.Publish(ctx, RefundIssued{ID: "r1", OrderID: "o1", Amount: 20})
	// endregion
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range client.Messages() {
		fmt.Printf("%s %s\n", m.Subject, m.Data)
	}
	// Output: refund:issued {"id":"r1","orderId":"o1","amount":20}
}
