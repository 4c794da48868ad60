package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// catalogue is how the events of package events are published.
var catalogue = map[ticketing.Subject]func([]byte) (publication, error){
	ticketing.SubjectTicketCreated:      decode[events.TicketCreated],
	ticketing.SubjectTicketUpdated:      decode[events.TicketUpdated],
	ticketing.SubjectOrderCreated:       decode[events.OrderCreated],
	ticketing.SubjectOrderCancelled:     decode[events.OrderCancelled],
	ticketing.SubjectExpirationComplete: decode[events.ExpirationComplete],
	ticketing.SubjectPaymentCreated:     decode[events.PaymentCreated],
}

// publication publishes a decoded event, and returns its id.
type publication func(ctx context.Context, c *natswrap.Client, opts ...ticketing.PublishOption) (id string, err error)

// decode reads an event of type E, and is stricter than a listener: what a
// person types has every field, and no other.
func decode[E ticketing.Event](data []byte) (publication, error) {
	var e E
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON value")
	}
	whole, err := ticketing.JSON.Marshal(e)
	if err != nil {
		return nil, err
	}
	var given, want any
	if err := errors.Join(json.Unmarshal(data, &given), json.Unmarshal(whole, &want)); err != nil {
		return nil, err
	}
	if missing := lacks(given, want, ""); len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	return func(ctx context.Context, c *natswrap.Client, opts ...ticketing.PublishOption) (string, error) {
		// The error goes to whoever runs this, and to no log.
		r := ticketing.NewPublisher[E](c, &ticketing.PublisherOptions{OnError: func(*ticketing.Message, error) {}}).PublishAsync(ctx, e, opts...)
		return r.ID(), r.Wait(ctx)
	}, nil
}

// lacks lists the fields of want that given does not have.
func lacks(given, want any, path string) (missing []string) {
	fields, ok := want.(map[string]any)
	if !ok {
		return nil
	}
	have, _ := given.(map[string]any)
	for name, v := range fields {
		if got, ok := have[name]; ok && got != nil {
			missing = append(missing, lacks(got, v, path+name+".")...)
		} else {
			missing = append(missing, path+name)
		}
	}
	return missing
}

// maxInput bounds what is read from the standard input: more than a server
// takes by far.
const maxInput = 64 << 20

func (a *app) publish() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "publish <subject> <json|->",
		Short: "Publish one event of the catalogue",
		Long: `Publish one event of the catalogue, from the argument or, with -, from the
standard input. It has to have every field of its type, and no other. With --id
an event that may have been published is published again without becoming two, where
the broker deduplicates.`,
		Example: `  ticketing publish expiration:complete '{"orderId":"O-1"}'
  ticketing dead show orders-srv/ticket:created/7 --raw | ticketing publish ticket:created -`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeSubjects(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := subject(args[0])
			if err != nil {
				return err
			}
			read, ok := catalogue[s]
			if !ok {
				return usagef("%s is not in the catalogue, so its event cannot be checked", s)
			}
			data := []byte(args[1])
			if args[1] == "-" {
				if data, err = io.ReadAll(io.LimitReader(a.in, maxInput+1)); err != nil {
					return fmt.Errorf("read the event: %w", err)
				}
				if len(data) > maxInput {
					return usagef("the event is larger than %d bytes", maxInput)
				}
			}
			send, err := read(data)
			if err != nil {
				return usagef("not an event of %s: %w", s, err)
			}
			var opts []ticketing.PublishOption
			if cmd.Flags().Changed("id") {
				opts = append(opts, ticketing.WithID(id))
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *natswrap.Client) error {
				id, err := send(ctx, c, opts...)
				switch {
				case err != nil:
					return err
				case a.json:
					return a.printJSON(map[string]string{"subject": string(s), "id": id})
				}
				return a.printf("published %s, id %s\n", s, printable(id))
			})
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "the event's id (default: a new one)")
	return cmd
}
