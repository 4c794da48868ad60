package api_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/api"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store/storetest"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// silent is the service without its events: Create is that of package tickets
// less the event.
type silent struct {
	*tickets.Service
	store *store.Store
}

func (s silent) Create(ctx context.Context, userID string, terms tickets.Terms) (store.Ticket, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return store.Ticket{}, err
	}
	t := store.Ticket{ID: id.String(), Title: terms.Title, Price: terms.Price, UserID: userID}
	return t, outbox.InTx(ctx, s.store.Outbox, func(tx *sql.Tx) error { return s.store.Insert(ctx, tx, t) })
}

// BenchmarkCreate is what an event costs a request, beside the same handler
// without one, in turns: its row in the transaction ("ratio"), and all of it up
// to the broker's acknowledgement, with the relay running ("relayed"). The
// ratios are the medians of the turns'.
//
//	go test -bench Create ./examples/tickets/internal/api
func BenchmarkCreate(b *testing.B) {
	for _, where := range []string{"memory", "file"} {
		b.Run(where, func(b *testing.B) {
			a := auth.New("key")
			token, err := a.Sign(auth.User{ID: "ann"})
			if err != nil {
				b.Fatal(err)
			}
			quiet := slog.New(slog.DiscardHandler)
			var past natstest.Recorder
			handler := func(name string, service func(*store.Store) api.Tickets) (*store.Store, http.Handler) {
				path := store.Memory
				if where == "file" {
					path = filepath.Join(b.TempDir(), name)
				}
				s, err := store.Open(b.Context(), path)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { s.Close() })
				return s, api.New(service(s), a, &api.Options{Logger: quiet})
			}
			real := func(s *store.Store) api.Tickets { return tickets.New(s, &past) }
			_, without := handler("silent.db", func(s *store.Store) api.Tickets { return silent{tickets.New(s, &past), s} })
			stored, with := handler("stored.db", real)
			relayed, all := handler("relayed.db", real)

			const turn = 100
			arrived := make(chan struct{}, turn)
			relay := outbox.NewRelay(relayed.Outbox, ticketing.SendFunc(func(context.Context, *ticketing.Message) error {
				arrived <- struct{}{}
				return nil
			}), &outbox.RelayOptions{Logger: quiet})
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- relay.Run(ctx) }()
			b.Cleanup(func() {
				stop()
				if err := <-ended; err != nil {
					b.Error(err)
				}
			})

			create := func(h http.Handler, then func()) float64 {
				start := time.Now()
				for range turn {
					req := httptest.NewRequest(http.MethodPost, "/api/tickets", strings.NewReader(`{"title":"Opera","price":20}`))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", "Bearer "+token)
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, req); w.Code != http.StatusCreated {
						b.Fatalf("status %d: %s", w.Code, w.Body)
					}
				}
				then()
				return float64(time.Since(start).Nanoseconds()) / turn
			}
			ways := []func() float64{
				func() float64 { return create(without, func() {}) },
				func() float64 { return create(with, func() {}) },
				func() float64 {
					return create(all, func() {
						for range turn {
							<-arrived
						}
					})
				},
			}
			var times [3][]float64
			for turns := 0; b.Loop(); turns++ {
				for i := range ways {
					i = (i + turns) % len(ways) // none is always the first
					times[i] = append(times[i], ways[i]())
				}
				var r natstest.Recorder
				storetest.Relay(b, stored, &r)
			}
			if len(past.Messages()) > 0 {
				b.Error("events went past the outbox")
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(times[0]), "ns/silent")
			b.ReportMetric(median(times[1]), "ns/request")
			b.ReportMetric(ratio(times[1], times[0]), "ratio")
			b.ReportMetric(ratio(times[2], times[0]), "relayed")
		})
	}
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// ratio is the median of the turns' ratios.
func ratio(x, y []float64) float64 {
	ratios := make([]float64, len(x))
	for i := range x {
		ratios[i] = x[i] / y[i]
	}
	return median(ratios)
}
