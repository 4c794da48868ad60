// Package natswrap is the one NATS connection of a service, over JetStream or
// NATS Streaming: which of them is configuration, not code.
//
// A service's main function is mostly [FromEnv] and [Run]:
//
//	cfg, err := natswrap.FromEnv()
//	if err != nil {
//		log.Fatal(err)
//	}
//	err = natswrap.Run(context.Background(), cfg, func(ctx context.Context, c *natswrap.Client) error {
//		created := ticketing.NewPublisher[events.TicketCreated](c, nil)
//		orders := ticketing.NewListener(c, "tickets-service", reserveTicket, nil)
//		...
//		return orders.Listen(ctx)
//	})
//
// The [Client] is a [ticketing.Sender] and a [ticketing.Receiver]. [Wrapper]
// is for services that hold their connection in a package variable.
package natswrap
